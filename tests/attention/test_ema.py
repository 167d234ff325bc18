"""Own facts of EMA."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from attncli.attention.channel_spatial.ema import Attention
from tests.attention.case import randomise

OPTIONS: list[dict[str, Any]] = [{}, {"factor": 8}]


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """10 c^2 + 4 c, c = C / G, G the largest divisor of C up to the factor."""
    groups = max(g for g in range(1, options.get("factor", 32) + 1) if facts["channels"] % g == 0)
    c = facts["channels"] // groups
    return 10 * c * c + 4 * c


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """EMA(channels, factor=32): gn, conv1x1, conv3x3."""
    names = {"gn": "norm", "conv1x1": "strip", "conv3x3": "conv"}
    state = {f"{names[k.partition('.')[0]]}.{k.partition('.')[2]}": v for k, v in params.items()}
    return Attention(meta["ctor"]["channels"], factor=meta["ctor"].get("factor", 32)), state


def test_mean_of_the_strip_branch_is_its_bias() -> None:
    """So the first softmax is a constant, whatever the input (claim ema-constant)."""
    module = randomise(Attention(32, factor=8).double())
    x1 = module.norm(module.gate_strips(torch.randn(6, 4, 5, 7, dtype=torch.float64)))
    torch.testing.assert_close(x1.mean((2, 3)), module.norm.bias.expand(6, 4))


def test_gate_is_one_number_per_group_and_position() -> None:
    """y / x lies between 0 and 1 and is equal over the channels of a group (claim ema-range)."""
    module = randomise(Attention(32, factor=8).double())
    x = torch.randn(2, 32, 5, 4, dtype=torch.float64)
    g = (module(x) / x).unflatten(1, (8, 4))
    assert 0 < g.min() < g.max() < 1
    torch.testing.assert_close(g, g[:, :, :1].expand_as(g))


def test_groups_share_their_weights() -> None:
    """Exchanging two groups of the input exchanges them in the output."""
    module = randomise(Attention(8, factor=2).double())
    x = torch.randn(2, 8, 4, 4, dtype=torch.float64)
    torch.testing.assert_close(module(x.roll(4, 1)), module(x).roll(4, 1))


@pytest.mark.parametrize(("channels", "groups"), [(16, 16), (24, 24), (144, 24), (160, 32), (512, 32)])
def test_groups_divide_the_channels(channels: int, groups: int) -> None:
    """Widths that 32 does not divide take their largest divisor below."""
    assert Attention(channels).groups == groups


def test_no_group_is_refused() -> None:
    """A factor is at least 1."""
    with pytest.raises(ValueError, match="at least 1"):
        Attention(8, factor=0)


def test_a_batch_has_the_gradients_of_its_images() -> None:
    """On a CPU all groups of several images are one convolution, those of one image a batch of their own."""
    module = randomise(Attention(8, factor=4).double())
    x = torch.randn(3, 8, 5, 4, dtype=torch.float64)
    whole = torch.autograd.grad(module(x).square().sum(), list(module.parameters()))
    single = [torch.autograd.grad(module(image).square().sum(), list(module.parameters())) for image in x.split(1)]
    for ours, parts in zip(whole, zip(*single, strict=True), strict=True):
        torch.testing.assert_close(ours, torch.stack(parts).sum(0))
