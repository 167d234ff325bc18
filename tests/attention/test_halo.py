"""Own facts of halo attention."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from attncli.attention.self_attention import bot
from attncli.attention.self_attention.halo import Attention
from tests.attention.case import randomise

OPTIONS: list[dict[str, Any]] = [
    {},
    {"block": 4, "halo": 1, "heads": 2},
    {"qkv_bias": True, "halo": 0},
    {"scale_positions": False},
    {"mask_padding": True, "block": 3},
]
FACTS = [{}, {"channels_in": 16, "channels": 24, "stride": 2, "size": (5, 4)}]


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """3 C_in C (+ 3 C) + 2 (2 n - 1) d, n = b + 2 halo."""
    c = facts["channels"]
    n = options.get("block", 8) + 2 * options.get("halo", 3)
    bias = 3 * c if options.get("qkv_bias") else 0
    return 3 * facts["channels_in"] * c + bias + 2 * (2 * n - 1) * c // options.get("heads", 8)


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """timm's HaloAttn: q, kv (in each head keys, then values), pos_embed.height_rel, pos_embed.width_rel."""
    ctor = meta["ctor"]
    module = Attention(
        ctor["dim_out"],
        ctor["dim"],
        ctor["stride"],
        block=ctor["block_size"],
        halo=ctor["halo_size"],
        heads=ctor["num_heads"],
        qkv_bias=ctor["qkv_bias"],
        scale_positions=ctor["scale_pos_embed"],
    )
    state = {
        "query.weight": params["q.weight"].flatten(1),
        "key_value.weight": params["kv.weight"].flatten(1),
        "positions.rows": params["pos_embed.height_rel"],
        "positions.columns": params["pos_embed.width_rel"],
    }
    return module, state


def test_one_block_without_halo_is_full_attention() -> None:
    """On a map of one block it is BoT's, with the same weights (claim halo-zero)."""
    halo = randomise(Attention(8, 8, block=4, halo=0, heads=2).double())
    full = bot.Attention(8, 8, (4, 4), heads=2).double()
    keys, values = halo.key_value.weight.view(2, 2, 4, 8).transpose(0, 1).flatten(1, 2)
    qkv = torch.cat((halo.query.weight, keys, values))
    state = {"qkv.weight": qkv} | {k: v for k, v in halo.state_dict().items() if k.startswith("positions")}
    full.load_state_dict(state)
    x = torch.randn(2, 8, 4, 4, dtype=torch.float64)
    torch.testing.assert_close(halo(x), full(x))


def test_a_position_sees_the_window_of_its_block() -> None:
    """Blocks of 4 with a halo of 1: rows 3 to 8 for the block of rows 4 to 7 (claim halo-local)."""
    module = randomise(Attention(8, 8, block=4, halo=1, heads=2).double())
    x = torch.randn(1, 8, 12, 12, dtype=torch.float64, requires_grad=True)
    module(x)[0, :, 5, 6].sum().backward()
    seen = x.grad[0].abs().sum(0).nonzero()
    assert seen.amin(0).tolist() == [3, 3]
    assert seen.amax(0).tolist() == [8, 8]


def test_odd_maps_are_filled_up_with_zeros() -> None:
    """As if the map had zeros beyond its border."""
    module = randomise(Attention(8, 8, block=4, halo=1, heads=2).double())
    x = torch.randn(1, 8, 6, 7, dtype=torch.float64)
    filled = nn.functional.pad(x, (0, 1, 0, 2))
    torch.testing.assert_close(module(x), module(filled)[:, :, :6, :7])


def test_masked_padding_gets_no_weight() -> None:
    """With mask_padding the weights of keys beyond the border are 0, without it they are not."""
    x = torch.randn(1, 8, 4, 4, dtype=torch.float64)
    for mask in (True, False):
        weights, _ = randomise(Attention(8, 8, block=4, halo=1, heads=2, mask_padding=mask).double()).attend(x)
        border = weights.unflatten(-1, (6, 6))[..., 0, :]
        assert bool((border == 0).all()) is mask
        torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights.sum(-1)))


def test_masked_padding_covers_what_fills_up_the_map() -> None:
    """A 6x7 map in blocks of 4: keys of rows 6 and 7 and of column 7 get no weight, those of the map do."""
    module = randomise(Attention(8, 8, block=4, halo=1, heads=2, mask_padding=True).double())
    weights, _ = module.attend(torch.randn(1, 8, 6, 7, dtype=torch.float64))
    last = weights[0, 0, 1, 1].unflatten(-1, (6, 6))  # the window of rows 3 to 8 and columns 3 to 8
    assert last[:, :3, :4].gt(0).all()
    assert not last[:, 3:].any()
    assert not last[:, :, 4:].any()


def test_filled_up_values_are_those_beyond_the_border() -> None:
    """With a bias too they are 0: it was added to them, and not to those beyond the border."""
    module = randomise(Attention(8, 8, block=4, halo=1, heads=2, qkv_bias=True).double())
    _, v = module.attend(torch.randn(1, 8, 6, 7, dtype=torch.float64))
    last = v[0, 0, 1, 1].unflatten(0, (6, 6)).abs().sum(-1)
    assert last[:3, :4].gt(0).all()
    assert not last[3:].any()
    assert not last[:, 4:].any()


@pytest.mark.parametrize("options", [{"block": 0}, {"halo": -1}, {"stride": 3}, {"heads": 3}])
def test_refusals(options: dict[str, Any]) -> None:
    """What makes no block is refused with the option's name."""
    with pytest.raises(ValueError, match=next(iter(options))):
        Attention(8, 8, **options)
