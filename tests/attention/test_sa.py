"""Own facts of shuffle attention."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from attncli.attention.channel_spatial.sa import Attention
from tests.attention.case import randomise

OPTIONS: list[dict[str, Any]] = [{}, {"groups": 4}, {"norm_affine": False}, {"shuffle": False}]


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """3 C / G, 2 C / G without the norm's; G the largest divisor of C / 2 up to 64."""
    half = facts["channels"] // 2
    groups = max(g for g in range(1, options.get("groups", 64) + 1) if half % g == 0)
    return (6 if options.get("norm_affine", True) else 4) * half // groups


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """sa_layer(channel, groups=64): cweight, cbias, sweight, sbias, gn."""
    long = {"c": "channel_", "s": "spatial_"}
    state = {
        k.replace("gn.", "norm.") if k.startswith("gn") else long[k[0]] + k[1:]: v.flatten() for k, v in params.items()
    }
    return Attention(meta["ctor"]["channel"], groups=meta["ctor"].get("groups", 64)), state


def test_starts_as_a_scaled_permutation() -> None:
    """y is sigmoid(1) times the input with its channels interleaved (claim sa-start)."""
    x = torch.randn(2, 8, 3, 3, dtype=torch.float64)
    order = [0, 4, 1, 5, 2, 6, 3, 7]
    start = torch.ones((), dtype=torch.float64).sigmoid()
    torch.testing.assert_close(Attention(8, groups=2).double()(x), start * x[:, order], rtol=0, atol=1e-12)
    torch.testing.assert_close(Attention(8, groups=2, shuffle=False).double()(x), start * x, rtol=0, atol=1e-12)


def test_shuffle_only_permutes() -> None:
    """The same channels come out with and without it, in another order (claim sa-shuffle)."""
    shuffled, plain = randomise(Attention(16, groups=4).double()), Attention(16, groups=4, shuffle=False).double()
    plain.load_state_dict(shuffled.state_dict())
    x = torch.randn(1, 16, 4, 3, dtype=torch.float64)
    sums = [m(x).sum((0, 2, 3)).sort().values for m in (shuffled, plain)]
    torch.testing.assert_close(*sums)
    assert not torch.equal(shuffled(x), plain(x))


def test_first_half_is_weighed_by_its_mean_alone() -> None:
    """One group: the gate of the first half is the same at every position, that of the second is not."""
    module = randomise(Attention(4, groups=1, shuffle=False).double())
    x = torch.randn(1, 4, 3, 3, dtype=torch.float64)
    g = module(x) / x
    torch.testing.assert_close(g[:, :2], g[:, :2].mean((2, 3), keepdim=True).expand(-1, -1, 3, 3))
    assert g[:, 2:].std((2, 3)).min() > 1e-3


def test_formula_of_both_halves() -> None:
    """Two groups of two halves of two channels: means of channels, and values normalised over positions."""
    module = randomise(Attention(8, groups=2, shuffle=False).double())
    x = torch.randn(2, 8, 3, 4, dtype=torch.float64)
    first, second = x.view(2, 2, 2, 2, 3, 4).unbind(2)
    cw, cb, sw, sb = (
        getattr(module, name)[:, None, None]
        for name in ("channel_weight", "channel_bias", "spatial_weight", "spatial_bias")
    )
    deviation = (second.var((3, 4), unbiased=False, keepdim=True) + module.norm.eps).sqrt()
    normalised = (second - second.mean((3, 4), keepdim=True)) / deviation
    normalised = normalised * module.norm.weight[:, None, None] + module.norm.bias[:, None, None]
    halves = (
        first * torch.sigmoid(cw * first.mean((3, 4), keepdim=True) + cb),
        second * torch.sigmoid(sw * normalised + sb),
    )
    torch.testing.assert_close(module(x), torch.stack(halves, 2).flatten(1, 3))


@pytest.mark.parametrize(("channels", "groups"), [(16, 8), (64, 32), (256, 64), (24, 12)])
def test_floor(channels: int, groups: int) -> None:
    """No group is empty: at most C / 2 of them."""
    assert Attention(channels).groups == groups


@pytest.mark.parametrize(("channels", "groups"), [(7, 64), (8, 0)])
def test_refusals(channels: int, groups: int) -> None:
    """Odd widths and no groups are refused."""
    with pytest.raises(ValueError, match=r"halves|at least 1"):
        Attention(channels, groups=groups)
