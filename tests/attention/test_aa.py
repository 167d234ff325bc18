"""Own facts of attention-augmented convolution."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attncli.attention.self_attention.aa import Attention, round_to_multiple
from tests.attention.case import randomise
from tests.attention.parity import read
from tests.attention.test_condconv import single
from tests.shared import shared

OPTIONS: list[dict[str, Any]] = [
    {},
    {"kappa": 0.5, "upsilon": 0.5, "heads": 4, "min_key_width": 1},
    {"relative": False},
    {"max_side": 4},
    {"upsilon": 1.0},
]
FACTS = [{}, {"channels_in": 16, "channels": 24, "stride": 2, "size": (5, 4)}]


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """9 C_in (C - dv) + C - dv, (C_in + 1)(2 dk + dv), dv^2 + dv, 2 (H + W - 1) dk / h at the size attended to."""
    c, c_in, h = facts["channels"], facts["channels_in"], options.get("heads", 8)
    dk = max(int(c * options.get("kappa", 0.2) / h + 0.5) * h, h * options.get("min_key_width", 20))
    dv = max(int(c * options.get("upsilon", 0.1) / h + 0.5) * h, h)
    sides = [math.ceil(s / facts["stride"]) for s in facts["size"]]
    shrink = math.ceil(max(sides) / options.get("max_side", 14))
    tables = 2 * (sum(math.ceil(s / shrink) for s in sides) - 1) * dk // h if options.get("relative", True) else 0
    return (9 * c_in + 1) * (c - dv) + (c_in + 1) * (2 * dk + dv) + dv * dv + dv + tables


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """SelfAttention2d(in, out, kernel, dk, dv, Nh): conv_out, conv_kqv (k, q, v), attn_out, key_rel_h, key_rel_w."""
    ctor = meta["ctor"]
    c, heads, dk = ctor["out_channels"], ctor["Nh"], ctor["dk"]
    module = Attention(
        c,
        ctor["in_channels"],
        tuple(meta["input_shape"][2:]),
        single(ctor["stride"]),
        kappa=dk / c,
        upsilon=ctor["dv"] / c,
        heads=heads,
        min_key_width=1,
        relative=ctor["relative"],
    )
    state = {}
    for name, value in params.items():
        layer, _, leaf = name.partition(".")
        if layer == "conv_kqv":
            k, q, v = value.split((dk, dk, ctor["dv"]))
            value = torch.cat((q, k, v))
        ours = {"conv_out": "conv", "conv_kqv": "qkv", "attn_out": "out"}.get(layer)
        tables = {"key_rel_h": "positions.rows", "key_rel_w": "positions.columns"}
        state[f"{ours}.{leaf}" if ours else tables[layer]] = value
    return module, state


def test_unlike_the_port_it_keeps_channels_and_positions_apart() -> None:
    """The port's own output, which reshapes positions into channels, is another."""
    meta, data, params = read(shared("parity-more/aa-content.npz"))
    module, state = official(meta, params)
    module.double().load_state_dict(state)
    y = module(data["x"])
    torch.testing.assert_close(y, data["y"], rtol=0, atol=1e-9)
    assert (y - data["y_port"]).abs().max() > 1e-3


def attention_alone(size: tuple[int, int], **options: Any) -> Attention:
    """All outputs come from the attention."""
    return randomise(Attention(8, 8, size, upsilon=1.0, min_key_width=1, **options).double())


def test_without_positions_it_is_equivariant() -> None:
    """Permuting positions permutes the attention's outputs (claim aa-content)."""
    module = attention_alone((3, 4), relative=False)
    x = torch.randn(2, 8, 3, 4, dtype=torch.float64)
    order = torch.randperm(12)
    moved = x.flatten(2)[:, :, order].view_as(x)
    torch.testing.assert_close(module(moved), module(x).flatten(2)[:, :, order].view_as(x))


def test_large_maps_are_attended_to_in_small() -> None:
    """A constant map stays constant through means and resizing; the tables have the small size."""
    module = attention_alone((8, 6), max_side=4)
    assert (module.shrink, module.positions.sizes) == (2, (4, 3))
    y = module(torch.ones(1, 8, 8, 6, dtype=torch.float64))
    assert y.shape == (1, 8, 8, 6)
    torch.testing.assert_close(y, y[..., :1, :1].expand_as(y))


def test_outputs_of_the_convolution_come_first() -> None:
    """The first C - dv channels are its own."""
    module = randomise(Attention(32, 8, (5, 5), 2).double())
    x = torch.randn(1, 8, 5, 5, dtype=torch.float64)
    y = module(x)
    torch.testing.assert_close(y[:, :24], F.conv2d(x, module.conv.weight, module.conv.bias, 2, 1))


@pytest.mark.parametrize(("least", "total"), [(20, 25_785_488), (1, 25_118_606)])
def test_totals_on_resnet50(least: int, total: int) -> None:
    """The paper's 25.8 M with 20 numbers of a key per head, a port's 25.12 M without (claim aa-params)."""
    new = 0
    with torch.device("meta"):
        for width, blocks, side in ((128, 4, 28), (256, 6, 14), (512, 3, 7)):
            module = Attention(width, width, (side, side), min_key_width=least)
            new += blocks * (sum(p.numel() for p in module.parameters()) - 9 * width * width)
    assert 25_557_032 + new == total


def test_rounding() -> None:
    """To the nearest multiple, at least the first."""
    assert [round_to_multiple(x, 8) for x in (1.6, 12.8, 25.6, 102.4)] == [8, 16, 24, 104]


@pytest.mark.parametrize(
    ("options", "word"), [({"kappa": 0.0}, "kappa"), ({"heads": 0}, "heads"), ({"heads": 16}, "fewer heads")]
)
def test_refusals(options: dict[str, Any], word: str) -> None:
    """What does not fit is refused in words that name it."""
    with pytest.raises(ValueError, match=word):
        Attention(8, 8, (4, 4), **options)
    with pytest.raises(ValueError, match="4x4 maps, and got 5x4"):
        Attention(8, 8, (4, 4))(torch.randn(1, 8, 5, 4))
