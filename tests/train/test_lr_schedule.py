"""The learning rate as a function of the global step."""

import math
import warnings

import pytest
import torch

from attncli.errors import UserError
from attncli.train import lr_schedule
from tests.train.case import recipe


def rates(**settings):
    """The rate of every step of a training with five steps an epoch."""
    train = recipe(**settings).train
    return [lr_schedule.learning_rate_at(train, step, 5) for step in range(5 * train.epochs)]


@pytest.mark.parametrize("epochs", [1, 2, 7, 40])
def test_onecycle_is_torchs(epochs):
    """One-cycle gives the rates of torch's OneCycleLR with its default constants."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.3, total_steps=5 * epochs)
    expected = []
    for step in range(5 * epochs):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step < 5 * epochs - 1:
            theirs.step()
    assert rates(schedule="onecycle", lr=0.3, epochs=epochs) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_onecycle_of_a_handful_of_steps(steps):
    """Even one step has a rate, positive and no higher than the peak."""
    train = recipe(schedule="onecycle", epochs=1, lr=0.2).train
    found = [lr_schedule.learning_rate_at(train, step, steps) for step in range(steps)]
    assert all(0 < rate <= 0.2 for rate in found)
    if steps == 1:
        assert found == [0.2]  # the end of the cycle is a 250,000th of it


@pytest.mark.parametrize(
    ("epochs", "words"),
    [(200, []), (123, ["before epoch 123", "less often"]), (82, ["before epoch 82", "never"]), (1, ["never"])],
)
def test_steps_after_the_end_are_told(epochs, words):
    """`--epochs` may end a training before the learning rate falls; after epoch 82 it falls if there is an epoch 83."""
    line = lr_schedule.describe_late_steps(recipe(schedule="step", step_epochs=[82, 123], epochs=epochs).train)
    assert all(word in line for word in words)
    assert bool(line) == bool(words)
    assert lr_schedule.describe_late_steps(recipe(schedule="cosine", epochs=epochs).train) == ""


def test_cosine_is_torchs():
    """Without a warm-up, cosine is torch's CosineAnnealingLR to zero."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch wants optimizer.step() first
        theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20)
        expected = []
        for _ in range(20):
            expected.append(optimizer.param_groups[0]["lr"])
            theirs.step()
    assert rates(schedule="cosine", lr=0.2, epochs=4) == pytest.approx(expected, rel=1e-9)


def test_warm_up_is_linear():
    """Over the warm-up the rate rises by equal parts, and the step after it has the peak."""
    found = rates(schedule="cosine", lr=1.2, epochs=4, warmup_epochs=1.0)
    assert found[:6] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.2])
    assert found[6] == pytest.approx(0.6 * (1 + math.cos(math.pi / 15)))
    assert rates(schedule="constant", lr=1.2, epochs=2, warmup_epochs=1.0)[5:] == [1.2] * 5


def test_warm_up_may_be_part_of_an_epoch():
    """Half an epoch of five steps is two steps."""
    assert rates(schedule="constant", lr=0.9, epochs=1, warmup_epochs=0.5) == pytest.approx([0.3, 0.6, 0.9, 0.9, 0.9])


def test_step_divides_by_ten_after_an_epoch():
    """After each epoch that is named, the rate is a tenth."""
    found = rates(schedule="step", lr=1.0, epochs=4, step_epochs=[1, 3])
    assert found == pytest.approx([1.0] * 5 + [0.1] * 10 + [0.01] * 5)


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"schedule": "onecycle", "warmup_epochs": 0.5}, "train.warmup_epochs"),
        ({"schedule": "cosine", "warmup_epochs": 3.0}, "train.warmup_epochs"),
        ({"schedule": "step"}, "train.step_epochs"),
        ({"schedule": "cosine", "step_epochs": [1]}, "train.step_epochs"),
    ],
)
def test_keys_that_do_not_go_together(settings, key):
    """A setting that would have no effect, or no meaning, is refused by its key with a way out."""
    with pytest.raises(UserError, match=key) as caught:
        lr_schedule.check_schedule(recipe(**settings).train)
    assert caught.value.hint


@pytest.mark.parametrize("name", ["cosine", "onecycle", "constant"])
def test_the_plain_schedules_pass(name):
    """Each schedule is fine by itself."""
    lr_schedule.check_schedule(recipe(schedule=name).train)
