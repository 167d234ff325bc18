"""Network and loss as one module."""

import math

import pytest
import torch
from torch import nn

from attncli.train.loss import TrainingObjective, balance_classes, find_own_loss

CPU = torch.device("cpu")


class Constant(nn.Module):
    """Logits (0, ln 3) whatever the image."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The same for all."""
        return torch.tensor([0.0, math.log(3)]).expand(len(x), 2)


def test_cross_entropy_by_hand():
    """p = (1/4, 3/4): the loss of class 1 is ln 4/3, smoothed by 0.2 it takes a tenth of both classes' logs."""
    images, labels = torch.zeros(2, 3, 1, 1), torch.tensor([1, 1])
    plain = TrainingObjective(Constant(), smoothing=0.0, precision="fp32", device=CPU)
    smooth = TrainingObjective(Constant(), smoothing=0.2, precision="fp32", device=CPU)
    assert plain(images, labels).item() == pytest.approx(math.log(4 / 3), rel=1e-6)
    assert smooth(images, labels).item() == pytest.approx(0.9 * math.log(4 / 3) + 0.1 * math.log(4), rel=1e-6)


def test_the_loss_is_float32_under_bf16():
    """The network computes in bf16, the loss is taken in float32."""
    seen = []

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(3, 2)

        def forward(self, x):
            y = self.head(x.flatten(1))
            seen.append(y.dtype)
            return y

    loss = TrainingObjective(Net(), smoothing=0.0, precision="bf16", device=CPU)(
        torch.ones(2, 3, 1, 1), torch.tensor([0, 1])
    )
    assert seen == [torch.bfloat16]
    assert loss.dtype == torch.float32


def test_own_loss_under_the_same_format():
    """A network's own loss is called instead, in the same number format."""
    seen = []

    class Own(nn.Module):
        def loss(self, images, target):
            y = images.flatten(1) @ torch.ones(3, 2)
            seen.append(y.dtype)
            return y.sum(), y

    model = Own()
    loss = TrainingObjective(model, smoothing=0.0, precision="bf16", device=CPU, own_loss=model.loss)(
        torch.ones(2, 3, 1, 1), torch.tensor([0, 1])
    )
    assert (loss.item(), loss.dtype, seen) == (12.0, torch.float32, [torch.bfloat16])


def test_only_a_mechanism_that_is_the_network_has_its_own_loss():
    """A user's network may have a criterion called `loss`, as in Lightning, or a method with other arguments."""

    class Criterion(nn.Module):
        def __init__(self):
            super().__init__()
            self.loss = nn.CrossEntropyLoss()

    class Method(nn.Module):
        def loss(self, logits, labels): ...

    assert [find_own_loss(model, attn) for model in (Criterion(), Method()) for attn in ("none", "eca")] == [None] * 4
    ram = Method()
    assert find_own_loss(ram, "ram") == ram.loss
    assert find_own_loss(nn.Identity(), "ram") is None


def test_balanced_weights_give_each_class_the_same_share() -> None:
    """By hand: 6 images of class 0 and 2 of class 1 weigh 2/3 and 2; the mean over the images is 1."""
    labels = torch.tensor([0] * 6 + [1] * 2)
    weights = balance_classes(labels, 2)
    assert weights.tolist() == pytest.approx([2 / 3, 2.0])
    assert float(weights[labels].mean()) == pytest.approx(1.0)
    assert balance_classes(labels, 3).isfinite().all()  # a class that a part of the images lacks


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_weighted_loss(smoothing: float) -> None:
    """Each image's loss times the weight of its class, then the mean; class shares get their mean weight."""
    logits, labels, weights = torch.tensor([[2.0, 0.0], [0.5, 1.0]]), torch.tensor([0, 1]), torch.tensor([0.5, 3.0])
    objective = TrainingObjective(
        nn.Identity(), smoothing=smoothing, precision="fp32", device=torch.device("cpu"), class_weights=weights
    )
    each = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=smoothing, reduction="none")
    expected = (0.5 * each[0] + 3.0 * each[1]) / 2
    torch.testing.assert_close(objective(logits, labels), expected)
    shares = torch.nn.functional.one_hot(labels, 2).float()
    torch.testing.assert_close(objective(logits, shares), expected)
