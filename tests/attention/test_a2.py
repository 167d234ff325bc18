"""Own facts of double attention."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from attncli.attention.self_attention.a2 import Attention
from tests.attention.case import randomise

OPTIONS: list[dict[str, Any]] = [
    {},
    {"reduction": 4},
    {"features": 6, "maps": 10},
    {"residual": False},
    {"zero_init": True},
]


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """C m + m + 2 (C n + n) + m C + C."""
    c = facts["channels"]
    width = c // options.get("reduction", 2)
    m, n = options.get("features", width), options.get("maps", width)
    return c * m + m + 2 * (c * n + n) + m * c + c


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """DoubleAttention(in_channels, key_channels, value_channels, num_head=1): key, query, value, expansion."""
    names = {"key": "gather", "query": "distribute", "value": "feature", "expansion": "expand"}
    state = {}
    for name, value in params.items():
        layer, leaf = name.split(".")
        state[f"{names[layer]}.{leaf}"] = value.flatten(1) if leaf == "weight" else value
    n, c = state["gather.weight"].shape
    return Attention(c, features=state["feature.weight"].shape[0], maps=n), state


def test_axes_of_the_softmaxes() -> None:
    """A gather map sums to 1 over the positions, the distribute maps at a position over the maps."""
    b, v = randomise(Attention(8).double()).compute_maps(torch.randn(2, 8, 3, 5, dtype=torch.float64))
    torch.testing.assert_close(b.sum(2), torch.ones(2, 4, dtype=torch.float64))
    torch.testing.assert_close(v.sum(1), torch.ones(2, 15, dtype=torch.float64))


def test_mixture_has_the_rank_of_the_descriptors() -> None:
    """Before the last convolution the result is a mixture of n descriptors (claim a2-rank)."""
    module = randomise(Attention(16, maps=3, features=16, residual=False).double())
    nn.init.zeros_(module.expand.bias)
    y = module(torch.randn(1, 16, 5, 5, dtype=torch.float64)).flatten(2)[0]
    assert (torch.linalg.svdvals(y) > 1e-10).sum() == 3


def test_permuting_positions_permutes_the_output() -> None:
    """There is no position encoding (claim a2-equivariant)."""
    module = randomise(Attention(8).double())
    x = torch.randn(2, 8, 3, 4, dtype=torch.float64)
    order = torch.randperm(12)
    moved = x.flatten(2)[:, :, order].view_as(x)
    torch.testing.assert_close(module(moved), module(x).flatten(2)[:, :, order].view_as(x))


def test_a_sample_does_not_depend_on_its_batch() -> None:
    """Unlike in ports that call softmax without an axis (claim a2-batch)."""
    module = randomise(Attention(8).double())
    x = torch.randn(3, 8, 4, 4, dtype=torch.float64)
    torch.testing.assert_close(module(x)[:1], module(x[:1]))


def test_zero_init_is_the_identity() -> None:
    """With W_e = 0 the block is its input."""
    x = torch.randn(2, 8, 3, 3)
    assert torch.equal(Attention(8, zero_init=True)(x), x)


@pytest.mark.parametrize("options", [{"reduction": 0}, {"features": 0}, {"maps": 0}])
def test_refusals(options: dict[str, Any]) -> None:
    """Widths are at least 1."""
    with pytest.raises(ValueError, match="at least 1"):
        Attention(8, **options)
