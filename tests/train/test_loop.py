"""The loop: what it computes, what it yields, how it fails."""

import time
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from attncli.data.loader import BatchLayout, iterate_train_batches
from attncli.errors import RunFailedError, UserError
from attncli.recipe import Recipe
from attncli.train import TrainingProgress, evaluate_split, loop, lr_schedule, monitor, train_model
from attncli.train.parameter_groups import group_parameters
from tests.train.case import Annealed, Net, dataset, net, recipe, run, same


class Plain(Net):
    """A net without dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.0)


def bare_loop(model: nn.Module, made: Recipe) -> list[float]:
    """The loop anyone would write: mean loss of each epoch."""
    data, settings = dataset(), made.train
    groups = group_parameters(model, settings, "none")
    optimizer = torch.optim.SGD(groups, lr=1.0, momentum=settings.momentum, nesterov=settings.nesterov, fused=True)
    layout = BatchLayout(batch_size=settings.batch_size, device=torch.device("cpu"), channels_last=True)
    means, place = [], 0
    for epoch in range(settings.epochs):
        losses = []
        for images, labels in iterate_train_batches(data.train, data, layout, seed=made.seed, epoch=epoch):
            for group in optimizer.param_groups:
                group["lr"] = lr_schedule.learning_rate_at(settings, place, 6) * group["lr_scale"]
            loss = F.cross_entropy(model(images), labels, label_smoothing=settings.label_smoothing)
            optimizer.zero_grad()
            loss.backward()
            if settings.clip_norm:
                nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
            optimizer.step()
            losses.append(loss.item())
            place += 1
        means.append(sum(losses) / len(losses))
    return means


@pytest.mark.parametrize("settings", [{}, {"label_smoothing": 0.1, "clip_norm": 0.2, "weight_decay": 0.01}])
def test_is_the_plain_loop(settings):
    """Training computes what a loop by hand does, to the last bit of the weights."""
    made = recipe(**settings)
    ours, theirs = net(Plain), net(Plain).to(memory_format=torch.channels_last)
    epochs = run(ours, made)
    assert bare_loop(theirs, made) == pytest.approx([e.train_loss for e in epochs], rel=1e-12)
    assert same(ours, theirs)


def test_learns():
    """Forty epochs teach a small net to tell brightness, far above the chance of 1 in 4."""
    epochs = run(net(), recipe(epochs=40, lr=0.1))
    assert epochs[-1].val_top1 > 0.8
    assert epochs[-1].train_loss < 0.7 * epochs[0].train_loss


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_every_optimizer_moves_every_parameter(optimizer, precision):
    """Each optimiser changes each parameter, in each precision, and leaves numbers."""
    model, before = net(), net()
    run(model, recipe(epochs=1, optimizer=optimizer, precision=precision, lr=0.01))
    for (name, p), q in zip(model.named_parameters(), before.parameters(), strict=True):
        assert p.isfinite().all(), name
        assert not torch.equal(p, q), name
        assert p.dtype == torch.float32


def test_epochs_count_from_one_and_tell_their_figures():
    """A record an epoch, from 1, with the last step's rate, a throughput and the validation part."""
    made = recipe()
    epochs = run(net(), made)
    assert [e.epoch for e in epochs] == [1, 2, 3]
    assert [e.lr for e in epochs] == [lr_schedule.learning_rate_at(made.train, s, 6) for s in (5, 11, 17)]
    for e in epochs:
        assert e.train_images_per_s == pytest.approx(48 / e.train_seconds)
        assert 0 <= e.val_top1 <= 1
        assert e.val_top5 is None  # of four classes it is always 1
        assert e.peak_memory_bytes is None


def test_without_a_validation_part():
    """Nothing is evaluated where there is nothing to evaluate."""
    (epoch,) = train_model(net(), dataset(val=None), recipe(epochs=1))
    assert epoch.val_loss is epoch.val_top1 is epoch.val_top5 is None


def test_fewer_images_than_a_batch():
    """A training part smaller than a batch is one batch."""
    (epoch,) = train_model(net(), dataset(n=5), recipe(epochs=1, batch_size=64))
    assert epoch.train_images_per_s == pytest.approx(5 / epoch.train_seconds)


def test_pauses_do_not_count():
    """Time that a listener or the validation takes is no training time."""
    epochs = []
    began = time.perf_counter()
    for epoch in train_model(net(), dataset(), recipe(epochs=2)):
        time.sleep(0.3)
        epochs.append(epoch)
    assert sum(e.train_seconds for e in epochs) < time.perf_counter() - began - 0.6


def test_seeds_differ_and_repeat():
    """One seed gives one training, another seed another."""
    a, b, c = net(), net(), net()
    run(a, recipe(seed=1))
    run(b, recipe(seed=1))
    run(c, recipe(seed=2))
    assert same(a, b)
    assert not same(a, c)


def test_leaves_the_weights_that_were_evaluated():
    """With an average of the weights, the network ends with the average: the last validation can be repeated."""
    model, plain = net(), net()
    made = recipe(ema=0.9)
    epochs = run(model, made)
    run(plain, recipe())
    assert not same(model, plain)
    again = evaluate_split(model, dataset().val, dataset(), made, name="val")
    assert (again.loss, again.top1) == (epochs[-1].val_loss, epochs[-1].val_top1)


def test_the_average_is_over_all_steps():
    """With one step an epoch the average can be followed from outside: 2/11, 3/12, 4/13 of the one before."""
    model = net(Plain)
    average = model.head.weight.detach().clone()
    for epoch in train_model(model, dataset(n=8), recipe(ema=0.9)):
        decay = (1 + epoch.epoch) / (10 + epoch.epoch)
        average = decay * average + (1 - decay) * model.head.weight.detach()
    torch.testing.assert_close(model.head.weight.detach(), average)


def test_own_loss(monkeypatch):
    """A network with a loss of its own is trained on that and evaluated by its logits."""
    monkeypatch.setattr("attncli.train.loss.is_whole_network", lambda name: True)

    class Own(Net):
        def loss(self, images, target):
            logits = self(images)
            return 3 * F.cross_entropy(logits, target), logits

    threefold, plain = net(Own), net()
    one = run(threefold, recipe(epochs=1, lr=0.01, momentum=0.0, weight_decay=0.0, schedule="constant"))
    two = run(plain, recipe(epochs=1, lr=0.03, momentum=0.0, weight_decay=0.0, schedule="constant"))
    assert one[0].train_loss == pytest.approx(3 * two[0].train_loss, rel=1e-5)
    assert one[0].val_loss == pytest.approx(two[0].val_loss, rel=1e-5)


def test_anneal_hears_every_epoch():
    """A module that anneals is told each epoch, from 0, before it begins."""
    heard = []

    class Ear(Annealed):
        def anneal(self, epoch):
            heard.append(epoch)

    run(net(Ear), recipe())
    assert heard == [0, 1, 2]


@pytest.mark.parametrize("seconds", [0.0, 0.5])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_with_its_step(monkeypatch, value, seconds):
    """The epoch and the step are those of the first such loss, noticed at once or late."""
    monkeypatch.setattr(monitor, "CHECK_S", seconds)

    class Broken(Net):
        seen = 0

        def forward(self, x):
            self.seen += self.training
            return super().forward(x) * (value if self.seen == 9 else 1.0)

    epochs = []
    with pytest.raises(RunFailedError, match="loss is nan at epoch 2, step 3 of 6") as caught:
        epochs.extend(train_model(net(Broken), dataset(), recipe()))
    assert caught.value.code == 1


def test_progress(monkeypatch):
    """The listener hears of every look and every end of an epoch, with finite figures that fit together."""
    monkeypatch.setattr(monitor, "CHECK_S", 0.0)
    heard: list[TrainingProgress] = []
    epochs = run(net(), recipe(epochs=2), progress=heard.append)
    assert [(s.epoch, s.step) for s in heard] == [(e, s) for e in (1, 2) for s in range(1, 7)]
    assert all(s.images_per_s > 0 and s.loss > 0 and s.epochs == 2 and s.steps == 6 for s in heard)
    assert heard[-1].seconds_left < heard[0].seconds_left
    assert heard[-1].images_per_s == pytest.approx(epochs[-1].train_images_per_s)


def test_looking_changes_nothing(monkeypatch):
    """A training that is looked at after every step ends in the same bits."""
    calm, watched = net(), net()
    first = run(calm, recipe())
    monkeypatch.setattr(monitor, "CHECK_S", 0.0)
    second = run(watched, recipe(), progress=lambda step: None)
    assert same(calm, watched)
    assert [e.train_loss for e in first] == [e.train_loss for e in second]


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"precision": "fp16"}, "train.precision"),
        ({"schedule": "onecycle", "warmup_epochs": 1.0}, "train.warmup_epochs"),
        ({"schedule": "step"}, "train.step_epochs"),
    ],
)
def test_what_cannot_be_trained(settings, key):
    """A recipe that cannot be trained here is refused before the first step, by the key."""
    with pytest.raises(UserError, match=key):
        run(net(), recipe(**settings))


def test_channels_last_is_a_layout_not_a_result():
    """The memory layout changes the speed, not what is learnt."""
    a, b = net(), net()
    one = run(a, recipe(channels_last=True))
    two = run(b, recipe(channels_last=False))
    assert a.conv2.weight.is_contiguous(memory_format=torch.channels_last)
    assert b.conv2.weight.is_contiguous()
    assert one[-1].train_loss == pytest.approx(two[-1].train_loss, rel=1e-4)


@pytest.mark.parametrize(("first_step", "resets"), [(1, 1), (4, 1), (6, 0)])
def test_the_peak_leaves_out_the_first_step_of_a_process(monkeypatch, first_step, resets):
    """Also that of a resumed process, in which cuDNN tries its kernels again; the only step of an epoch counts."""
    calls = []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", calls.append)
    state = SimpleNamespace(step=first_step)
    session = SimpleNamespace(device=torch.device("cuda"), state=state, epoch_steps=6, has_tried_kernels=False)
    for step in (*range(first_step, 7), *range(1, 7)):
        state.step = step
        loop.forget_kernel_trials(session)
    assert len(calls) == resets
