"""Activation memory, and the record of what a mechanism costs."""

import math

import torch
from torch import nn

from attncli import attention
from attncli.measure import activations, imagine
from attncli.measure.activations import activation_bytes
from attncli.measure.overhead import cost
from tests.measure.nets import Decides, Tiny, Wrapped


def test_memory_worked_out_by_hand() -> None:
    """6 x 8 px: the convolution keeps its image, ReLU its result, the linear layer the means."""
    assert activation_bytes(Tiny(), (6, 8)) == 4 * (3 * 48 + 4 * 48 + 4)


def test_what_is_saved_twice_counts_once() -> None:
    """x * x and exp(x) keep one x and one result; the parameter in p * x does not count."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.p = nn.Parameter(torch.ones(3, 4, 4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.p * x  # keeps p and x
            return (y * y + y[:, :1]).exp()  # keeps y and the result

    assert activation_bytes(Net(), (4, 4)) == 4 * (3 * 48)


def test_masks_count_in_their_own_size() -> None:
    """Dropout keeps a mask of one byte a number; max-pooling keeps its places in 8 bytes."""
    scale = nn.Parameter(torch.ones(3, 1, 1))
    pooled = Wrapped(lambda x: nn.functional.max_pool2d(x * scale, 2))
    assert activation_bytes(pooled, (4, 4)) == 4 * 48 + 4 * 48 + 8 * 12


def test_imagined_and_real_memory_agree(monkeypatch) -> None:
    """The figures are the same when the network really runs."""
    nets = [Tiny(attention.load(n).Attention(4)) for n in ("se", "cbam")]
    imagined = [activation_bytes(net, (16, 16)) for net in nets]
    monkeypatch.setattr(imagine, "_imagined", lambda *_: 1 / 0)
    assert [activation_bytes(net, (16, 16)) for net in nets] == imagined
    assert activations.BATCH >= 2


def test_network_that_decides_by_numbers() -> None:
    """It is run in earnest."""
    assert activation_bytes(Decides(), (6, 8)) >= activation_bytes(Tiny(), (6, 8))


def test_cost_of_a_mechanism() -> None:
    """The record holds both networks' figures; overhead is a percentage of the baseline's."""
    found = cost(Tiny(attention.load("se").Attention(4, reduction=2)), Tiny(), (16, 16))
    assert found.params - found.baseline_params == 2 * 4 * 2
    assert found.macs - found.baseline_macs == 2 * 4 * 2
    assert found.elementwise - found.baseline_elementwise >= 4 * 256
    assert found.activation_bytes > found.baseline_activation_bytes
    assert found.image_size == 16
    assert math.isclose(found.percent("params"), 100 * 16 / found.baseline_params)


def test_cost_of_a_clip_is_that_of_its_frames() -> None:
    """A network that folds frames into the batch costs T times what it costs an image."""

    class Fold(Tiny):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x.flatten(0, 1))

    clip, image = cost(Fold(), Fold(), (8, 8), frames=4), cost(Tiny(), Tiny(), (8, 8))
    assert clip.macs == 4 * image.macs
    assert clip.elementwise == 4 * image.elementwise
    assert clip.activation_bytes == 4 * image.activation_bytes
