"""Own facts of the bottleneck transformer's attention."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from attncli.attention.self_attention.bot import Attention
from tests.attention.case import randomise

OPTIONS: list[dict[str, Any]] = [
    {},
    {"heads": 2},
    {"qkv_bias": True},
    {"relative": False},
    {"scale_positions": False},
]
FACTS = [{}, {"channels_in": 16, "channels": 24, "stride": 2, "size": (5, 4)}]


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """3 C_in C (+ 3 C) + (2 H + 2 W - 2) d."""
    c, (h, w) = facts["channels"], facts["size"]
    tables = (2 * h + 2 * w - 2) * c // options.get("heads", 4) if options.get("relative", True) else 0
    return 3 * facts["channels_in"] * c + 3 * c * options.get("qkv_bias", False) + tables


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """timm's BottleneckAttn: qkv, pos_embed.height_rel, pos_embed.width_rel."""
    ctor = meta["ctor"]
    module = Attention(
        ctor["dim_out"],
        ctor["dim"],
        tuple(ctor["feat_size"]),
        ctor["stride"],
        heads=ctor["num_heads"],
        qkv_bias=ctor["qkv_bias"],
        scale_positions=ctor["scale_pos_embed"],
    )
    names = {"pos_embed.height_rel": "positions.rows", "pos_embed.width_rel": "positions.columns"}
    return module, {names.get(k, k): v.flatten(1) if v.ndim == 4 else v for k, v in params.items()}


def test_without_positions_it_is_equivariant() -> None:
    """Permuting positions permutes the output, with zero tables or without them (claim bot-equivariant)."""
    x = torch.randn(2, 8, 3, 4, dtype=torch.float64)
    order = torch.randperm(12)
    moved = x.flatten(2)[:, :, order].view_as(x)
    for relative in (True, False):
        module = randomise(Attention(8, 8, (3, 4), relative=relative).double())
        if module.positions is not None:
            nn.init.zeros_(module.positions.rows)
            nn.init.zeros_(module.positions.columns)
        torch.testing.assert_close(module(moved), module(x).flatten(2)[:, :, order].view_as(x))


def test_tables_hold_offsets() -> None:
    """With q = 1 the score of a pair is the entry for key minus query, rows plus columns."""
    module = Attention(4, 4, (3, 2), heads=4).double()
    module.positions.rows.data = torch.arange(5.0, dtype=torch.float64)[:, None]  # offsets -2 to 2
    module.positions.columns.data = 10 * torch.arange(3.0, dtype=torch.float64)[:, None]  # -1 to 1
    scores = module.positions(torch.zeros(1, 4, 6, 6).double(), torch.ones(1, 4, 3, 2, 1).double())[0, 0].view(
        3, 2, 3, 2
    )
    assert scores[0, 0, 0, 0] == 2 + 10
    assert scores[0, 1, 2, 0] == 4 + 0
    assert scores[2, 0, 0, 1] == 0 + 20


def test_stride_is_a_pool_after() -> None:
    """2x2 means; an odd row or column is the mean of what is there."""
    plain, strided = (Attention(8, 8, (5, 4), s).double() for s in (1, 2))
    strided.load_state_dict(plain.state_dict())
    x = torch.randn(1, 8, 5, 4, dtype=torch.float64)
    y = plain(x)
    torch.testing.assert_close(strided(x)[:, :, :2], nn.functional.avg_pool2d(y, 2))
    torch.testing.assert_close(strided(x)[:, :, 2, 0], y[:, :, 4, :2].mean(2))


def test_refusals() -> None:
    """Heads divide the channels, the stride is 1 or 2, and the map has the size it was built for."""
    with pytest.raises(ValueError, match="3 heads"):
        Attention(8, 8, (4, 4), heads=3)
    with pytest.raises(ValueError, match="stride=3"):
        Attention(8, 8, (4, 4), 3)
    with pytest.raises(ValueError, match="4x4 maps, and got 5x4"):
        Attention(8, 8, (4, 4))(torch.randn(1, 8, 5, 4))
