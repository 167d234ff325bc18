"""Counting: every image once, by hand."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from attncli.data.dataset import Split
from attncli.errors import RunFailedError, UserError
from attncli.train import evaluate_split, predict_split
from attncli.train import evaluation as module
from tests.train.case import Net, dataset, net, recipe


class Fixed(nn.Module):
    """Gives the logits it was made with, batch after batch."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits, self.at = logits, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The next logits."""
        self.at += len(x)
        return self.logits[self.at - len(x) : self.at]


def images(labels):
    """A split of black images with these labels."""
    return Split(torch.zeros(len(labels), 3, 8, 8, dtype=torch.uint8), torch.tensor(labels))


def test_by_hand():
    """Top-1, top-5, the loss and the confusion matrix of four images of seven classes."""
    logits = torch.tensor([[9, 8, 7, 6, 5, 4, 3]] * 4).float()
    split = images([0, 4, 5, 0])
    data = replace(dataset(classes=7), test=split)
    found = evaluate_split(Fixed(logits), split, data, recipe(), name="test")
    total = math.log(sum(math.exp(v - 9) for v in range(3, 10)))
    assert (found.split, found.images, found.top1, found.top5) == ("test", 4, 0.5, 0.75)
    assert found.loss == pytest.approx((4 * total + 4 + 5) / 4, rel=1e-6)
    assert found.confusion[0] == [2, 0, 0, 0, 0, 0, 0]
    assert found.confusion[4][0] == found.confusion[5][0] == 1
    assert sum(map(sum, found.confusion)) == 4
    assert found.images_per_s > 0


def test_fewer_than_five_classes():
    """With four classes the right one is always among the best five."""
    data = dataset()
    assert evaluate_split(net(), data.test, data, recipe(), name="test").top5 == 1.0


def test_batches_change_nothing(monkeypatch):
    """However the split is cut, the counts are the same and the loss is to rounding."""
    data = dataset()
    whole = evaluate_split(net(), data.test, data, recipe(), name="test")
    monkeypatch.setattr(module, "choose_eval_batch_size", lambda *told: 3)
    cut = evaluate_split(net(), data.test, data, recipe(), name="test")
    assert (cut.confusion, cut.images) == (whole.confusion, whole.images)
    assert cut.loss == pytest.approx(whole.loss, rel=1e-6)


class Limited(Net):
    """A net for which the memory has room for `room` images at a time; it notes the batches that it was given."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room, self.batches = room, []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The net's logits."""
        self.batches.append(len(x))
        if len(x) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().forward(x)


def test_an_evaluation_fits_where_the_training_does():
    """It takes more images at a time than a step of few, so it halves its batch until there is room."""
    data = dataset()
    limited = net(Limited, room=4)
    found = evaluate_split(limited, data.test, data, recipe(), name="test")
    assert limited.batches == [13, 6, 3, 3, 3, 3, 1]
    whole = evaluate_split(net(), data.test, data, recipe(), name="test")
    assert (found.confusion, found.images) == (whole.confusion, whole.images)
    with pytest.raises(RunFailedError, match="out of memory"):
        evaluate_split(net(Limited, room=0), data.test, data, recipe(), name="test")


def test_the_network_stays_as_it_is():
    """Evaluation sets the network to evaluate, learns no statistics and sets it back."""
    model, before = net().train(), net()
    evaluate_split(model, dataset().test, dataset(), recipe(), name="test")
    assert model.training
    assert torch.equal(model.norm.running_mean, before.norm.running_mean)
    model.eval()
    evaluate_split(model, dataset().test, dataset(), recipe(), name="test")
    assert not model.training


def test_a_network_that_draws_is_evaluated_alike_each_time():
    """Draws in evaluation follow from the seed and the split."""

    class Drawing(nn.Module):
        def forward(self, x):
            return torch.randn(len(x), 4)

    data = dataset()
    one, two = (evaluate_split(Drawing(), data.test, data, recipe(), name="test") for _ in range(2))
    other = evaluate_split(Drawing(), data.test, data, recipe(seed=1), name="test")
    assert one.confusion == two.confusion
    assert one.loss != other.loss


def test_a_missing_image_is_an_error(monkeypatch):
    """Where a batch is lost, there is no figure."""
    real = module.iterate_eval_batches

    def lossy(*arguments, **options):
        batches = list(real(*arguments, **options))
        return batches[:-1]

    monkeypatch.setattr(module, "iterate_eval_batches", lossy)
    monkeypatch.setattr(module, "choose_eval_batch_size", lambda *told: 5)
    with pytest.raises(RunFailedError, match="10 images evaluated, the split has 13"):
        evaluate_split(net(), dataset().test, dataset(), recipe(), name="test")


@pytest.mark.parametrize("row", [[math.nan] * 4, [math.inf] * 4, [0, 0, math.nan, 0], [0, math.inf, 0, 0]])
def test_an_image_without_a_finite_loss_is_wrong(row):
    """It has no predicted class, even if its own class is the only one that overflows; the loss is the others'."""
    logits = torch.tensor([row, [9.0, 0, 0, 0], [0, 9.0, 0, 0], [0, 9.0, 0, 0]])
    found, predicted = predict_split(Fixed(logits), images([1, 0, 1, 0]), dataset(), recipe(), name="test")
    right = math.log(1 + 3 * math.exp(-9))
    assert (found.images, found.top1, found.count_correct()) == (4, 0.5, 2)
    assert found.loss == pytest.approx((3 * right + 9) / 3, rel=1e-6)
    assert found.confusion == [[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert found.nonfinite_by_class == [0, 1, 0, 0]
    assert found.count_images_by_class() == [2, 2, 0, 0]
    assert predicted.tolist() == [4, 0, 1, 1], "4 is no class"


def test_an_image_without_a_finite_loss_is_not_among_the_best_five():
    """Top-5 counts it as wrong too."""
    logits = torch.zeros(2, 7)
    logits[0, 0] = math.inf
    data = replace(dataset(classes=7), test=images([0, 0]))
    assert evaluate_split(Fixed(logits), data.test, data, recipe(), name="test").top5 == 0.5


def test_no_finite_loss_at_all_is_an_error():
    """A network that gives nan for every image has no accuracy to report."""
    with pytest.raises(RunFailedError, match="test: the loss of each of 4 images is no finite number"):
        evaluate_split(Fixed(torch.full((4, 4), math.nan)), images([0, 1, 0, 1]), dataset(), recipe(), name="test")


def test_fp16_on_a_cpu():
    """The same refusal as in training."""
    with pytest.raises(UserError, match=r"train\.precision"):
        evaluate_split(net(), dataset().test, dataset(), recipe(precision="fp16"), name="test")


@pytest.mark.parametrize(
    ("on", "shape", "train", "expected"),
    [
        ("cuda", (1, 3, 32, 32), 128, 512),
        ("cuda", (1, 3, 32, 32), 16, 256),
        ("cuda", (1, 3, 224, 224), 128, 334),
        ("cuda", (1, 3, 224, 224), 512, 512),
        ("cuda", (1, 8, 3, 112, 112), 32, 167),
        ("cpu", (1, 3, 32, 32), 512, 256),
        ("cpu", (1, 3, 224, 224), 64, 41),
        ("cpu", (1, 8, 3, 512, 512), 4, 1),
    ],
)
def test_size_of_a_batch(on, shape, train, expected):
    """On a GPU four training batches, at least 256 images, at most what holds 16 M pixels; on a CPU 256, or 2 M."""
    images = torch.zeros(shape, dtype=torch.uint8).expand(100 * expected, *shape[1:])
    split = Split(images, torch.zeros(len(images), dtype=torch.int64))
    assert module.choose_eval_batch_size(split, train, torch.device(on)) == expected


def test_batches_of_an_evaluation_are_of_equal_size():
    """5,000 images are ten batches of 500 and none of 512; of eight processes each takes an eighth of both."""
    split = Split(torch.zeros(1, 3, 32, 32, dtype=torch.uint8).expand(5000, -1, -1, -1), torch.zeros(5000))
    assert module.choose_eval_batch_size(split, 128, torch.device("cuda")) == 500
    assert module.choose_eval_batch_size(split, 2048, torch.device("cuda"), processes=8) == 625
    large = Split(torch.zeros(1, 3, 224, 224, dtype=torch.uint8).expand(80_000, -1, -1, -1), torch.zeros(80_000))
    assert module.choose_eval_batch_size(large, 2048, torch.device("cuda"), processes=8) == 334
