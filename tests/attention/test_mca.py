"""Own facts of multidimensional collaborative attention."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from attncli.attention.channel_spatial.mca import Attention, choose_kernel_size
from tests.attention.case import randomise

OPTIONS: list[dict[str, Any]] = [{}, {"channel": False}, {"kernel": 5}, {"channel_kernel": 1}]


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """Two kernels of 3, one of k, and two numbers each."""
    steps = round(abs((math.log2(facts["channels"]) - 1) / 1.5))
    k = options.get("channel_kernel") or max(steps - (steps + 1) % 2, 1)
    return 2 * options.get("kernel", 3) + 4 + (k + 2 if options.get("channel", True) else 0)


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """MCALayer(inp, no_spatial): h_cw, w_hc, c_hw, each with weight and conv.weight."""
    channel = "c_hw.weight" in params
    names = {"c_hw": "channel", "h_cw": "rows", "w_hc": "columns"}
    state = {}
    for name, value in params.items():
        gate, _, leaf = name.partition(".")
        state[f"{names[gate]}.{'mix' if leaf == 'weight' else leaf}"] = (
            value if leaf == "weight" else value.flatten(1)[None]
        )
    kernel = params["c_hw.conv.weight"].shape[-1] if channel else None
    return Attention(meta["ctor"]["inp"], channel=channel, channel_kernel=kernel), state


def test_kernel_sizes_of_the_card() -> None:
    """1 up to 26 channels; 32 to 128 -> 3, 256 to 1024 -> 5, 2048 -> 7."""
    widths = (2, 3, 16, 26, 32, 64, 128, 256, 512, 1024, 2048)
    assert [choose_kernel_size(c) for c in widths] == [1, 1, 1, 1, 3, 3, 3, 5, 5, 5, 7]


def test_gate_lies_between_zero_and_one() -> None:
    """A mean of three sigmoids (claim mca-range)."""
    module = randomise(Attention(8).double())
    x = torch.randn(2, 8, 5, 4, dtype=torch.float64)
    g = module(x) / x
    assert 0 < g.min() < g.max() < 1


def test_transposing_exchanges_rows_and_columns() -> None:
    """With the two spatial gates exchanged (claim mca-transpose)."""
    module, swapped = randomise(Attention(8).double()), Attention(8).double()
    swapped.channel, swapped.rows.mix, swapped.columns.mix = module.channel, module.columns.mix, module.rows.mix
    swapped.rows.conv, swapped.columns.conv = module.columns.conv, module.rows.conv
    x = torch.randn(2, 8, 5, 4, dtype=torch.float64)
    torch.testing.assert_close(swapped(x.transpose(2, 3)), module(x).transpose(2, 3))


def test_hand_computed_channel_gate() -> None:
    """Means 2 and 0, deviations sqrt(2) and 0, l = 0 (weights of 1), kernel 1 of weight 1."""
    module = Attention(2).double()
    gate = module.channel
    nn.init.zeros_(gate.mix)
    nn.init.ones_(gate.conv.weight)
    x = torch.tensor([[1.0, 3.0], [0.0, 0.0]], dtype=torch.float64).view(1, 2, 1, 2)
    expected = torch.tensor([2 + 2**0.5, 0.0], dtype=torch.float64).sigmoid()
    torch.testing.assert_close(gate(x).flatten(), expected)


def test_even_kernels_are_refused() -> None:
    """They have no middle."""
    for options in ({"kernel": 2}, {"channel_kernel": 4}):
        with pytest.raises(ValueError, match="odd"):
            Attention(8, **options)
