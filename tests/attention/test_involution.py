"""Own facts of involution."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attncli import attention
from attncli.attention.branch.involution import Attention
from tests.attention.case import randomise

OPTIONS: list[dict[str, Any]] = [{}, {"kernel": 3, "group_channels": 8}, {"reduction": 2}]
FACTS = [{}, {"channels_in": 16, "channels": 16, "stride": 2, "size": (9, 6)}]


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """C h + 2 h + k^2 G (h + 1)."""
    c, k = facts["channels"], options.get("kernel", 7)
    h, g = c // options.get("reduction", 4), c // options.get("group_channels", 16)
    return c * h + 2 * h + k * k * g * (h + 1)


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """Involution(channels, kernel_size, stride): conv1.conv, conv1.bn, conv2.conv."""
    ctor = meta["ctor"]
    names = {"conv1.conv": "reduce", "conv1.bn": "norm", "conv2.conv": "expand"}
    state = {f"{names[k.rpartition('.')[0]]}.{k.rpartition('.')[2]}": v for k, v in params.items()}
    return Attention(ctor["channels"], ctor["channels"], ctor["stride"], kernel=ctor["kernel_size"]), state


@pytest.mark.parametrize("stride", [1, 2])
def test_constant_kernels_are_a_convolution(stride: int) -> None:
    """With W2 = 0 it is a depth-wise convolution whose 16 channels share a kernel (claim involution-constant)."""
    module = randomise(Attention(32, 32, stride, kernel=3).double()).eval()
    nn.init.zeros_(module.expand.weight)
    x = torch.randn(2, 32, 6, 8, dtype=torch.float64)
    weight = module.expand.bias.view(2, 1, 1, 3, 3).expand(2, 16, 1, 3, 3).flatten(0, 1)
    torch.testing.assert_close(module(x), F.conv2d(x, weight, stride=stride, padding=1, groups=32))


def test_channels_mix_in_the_kernels_only() -> None:
    """With the kernels fixed, a channel of y depends on that channel of x (claim involution-dead-channel)."""
    module = randomise(Attention(16, 16).double()).eval()
    nn.init.zeros_(module.expand.weight)
    x = torch.randn(1, 16, 4, 4, dtype=torch.float64, requires_grad=True)
    module(x)[0, 3].sum().backward()
    assert x.grad[0].abs().sum((1, 2)).nonzero().flatten().tolist() == [3]


def test_card_puts_it_in_place_of_the_convolution_alone() -> None:
    """The norm stays; of a basic block it is the second convolution, which never widens."""
    card = attention.describe_mechanism("involution").card
    assert (card.site, card.replaces_norm, card.convs) == ("conv", False, "last")


@pytest.mark.parametrize(
    ("channels", "options", "word"),
    [
        (16, {"kernel": 4}, "odd"),
        (32, {}, "equal"),
        (16, {"group_channels": 5}, "divide by 5"),
        (16, {"reduction": 0}, "reduction"),
    ],
)
def test_refusals(channels: int, options: dict[str, Any], word: str) -> None:
    """What does not fit is refused in words that name it."""
    with pytest.raises(ValueError, match=word):
        Attention(channels, 16, **options)


def test_weights_start_as_in_the_official_code() -> None:
    """Kaiming normal by the fan out, biases 0: the kernels begin as a function of the map alone."""
    module = Attention(128, 128)
    for weight in (module.reduce.weight, module.expand.weight):
        assert weight.std().item() == pytest.approx((2 / len(weight)) ** 0.5, rel=0.05)
    assert not module.expand.bias.any()
