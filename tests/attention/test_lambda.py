"""Own facts of the lambda layer."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from attncli import attention
from tests.attention.case import randomise

Attention = attention.load("lambda").Attention

OPTIONS: list[dict[str, Any]] = [
    {},
    {"r": 3, "depth": 2, "key_width": 8},
    {"heads": 8, "r": 5},
]
FACTS = [{}, {"channels_in": 16, "channels": 24, "stride": 2, "size": (5, 4)}]


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """C_in (h k + k u + d u) + 2 h k + 2 d u + k u r^2 + k."""
    h, k, u = options.get("heads", 4), options.get("key_width", 16), options.get("depth", 1)
    d = facts["channels"] // h
    return facts["channels_in"] * (h * k + k * u + d * u) + 2 * (h * k + d * u) + k * u * options.get("r", 23) ** 2 + k


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """LambdaLayer(d, dk, du, Nh, r, stride): conv_qkv, norm_q, norm_v, lambda_conv."""
    ctor = meta["ctor"]
    names = {"conv_qkv": "qkv", "norm_q": "query_norm", "norm_v": "value_norm", "lambda_conv": "positions"}
    state = {}
    for name, value in params.items():
        layer, leaf = name.split(".")
        value = value.flatten(1) if layer == "conv_qkv" else value
        state[f"{names[layer]}.{leaf}"] = value[:, :, 0] if value.ndim == 5 else value
    module = Attention(
        ctor["d"], ctor["d"], ctor["stride"], heads=ctor["Nh"], key_width=ctor["dk"], depth=ctor["du"], r=ctor["r"]
    )
    return module, state


def test_content_alone_is_one_map_for_all_positions() -> None:
    """With zero filters permuting positions permutes the output (claim lambda-content)."""
    module = randomise(Attention(8, 8, r=3).double()).eval()
    nn.init.zeros_(module.positions.weight)
    nn.init.zeros_(module.positions.bias)
    x = torch.randn(2, 8, 3, 4, dtype=torch.float64)
    order = torch.randperm(12)
    moved = x.flatten(2)[:, :, order].view_as(x)
    torch.testing.assert_close(module(moved), module(x).flatten(2)[:, :, order].view_as(x))


def test_all_value_channels_share_the_filters() -> None:
    """L_p of a channel of v depends on that channel alone, by the same filters."""
    module = randomise(Attention(8, 8, r=3).double())
    v = torch.randn(1, 1, 2, 4, 4, dtype=torch.float64)
    maps = module.compute_local_maps(v)
    torch.testing.assert_close(module.compute_local_maps(v.flip(2)), maps.flip(1))


def test_stride_is_a_pool_after() -> None:
    """3x3 means with zeros around the map counted."""
    plain, strided = randomise(Attention(8, 8, r=3).double()).eval(), Attention(8, 8, 2, r=3).double().eval()
    strided.load_state_dict(plain.state_dict())
    x = torch.randn(1, 8, 5, 4, dtype=torch.float64)
    torch.testing.assert_close(strided(x), nn.functional.avg_pool2d(plain(x), 3, 2, 1))


def test_a_keyword_can_be_a_mechanism() -> None:
    """The file is lambda_.py, the mechanism's name has no underline."""
    found = attention.describe_mechanism("lambda")
    assert (found.name, found.path.name, found.category) == ("lambda", "lambda_.py", "self-attention")


@pytest.mark.parametrize(("options", "word"), [({"r": 4}, "r=4"), ({"heads": 3}, "3 heads"), ({"depth": 0}, "depth")])
def test_refusals(options: dict[str, Any], word: str) -> None:
    """What does not fit is refused in words that name it."""
    with pytest.raises(ValueError, match=word):
        Attention(8, 8, **options)
