"""Own facts of split attention."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attncli import attention
from attncli.attention.branch.splat import Attention
from tests.attention.case import randomise
from tests.attention.test_condconv import single

OPTIONS: list[dict[str, Any]] = [
    {},
    {"radix": 1},
    {"radix": 4, "reduction": 2},
    {"min_hidden": 8},
    {"divisor": 8},
    {"pool": "before"},
    {"pool": "none"},
]
FACTS = [{}, {"channels_in": 32, "channels": 48, "stride": 2, "groups": 4, "size": (10, 7)}]


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """9 C_in C / G + 2 R C + C i / G + 3 i + i R C / G + R C."""
    c, c_in, g, r = facts["channels"], facts["channels_in"], facts["groups"], options.get("radix", 2)
    i = max(c_in * r // options.get("reduction", 4), options.get("min_hidden", 32))
    i = max(int(i + 4) // 8 * 8, 8) if options.get("divisor") == 8 else i
    return 9 * c_in * c // g + 2 * r * c + c * i // g + 3 * i + i * r * c // g + r * c


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """SplAtConv2d: conv, bn0, fc1, bn1, fc2; its stride sits in the convolution."""
    ctor = {"groups": 1, "radix": 2, "stride": 1, **meta["ctor"]}
    module = Attention(
        ctor["channels"],
        ctor["in_channels"],
        single(ctor["stride"]),
        ctor["groups"],
        radix=ctor["radix"],
        reduction=ctor.get("reduction_factor", 4),
        pool="none",
    )
    names = {"conv": "conv", "bn0": "norm", "fc1": "reduce", "bn1": "hidden_norm", "fc2": "expand"}
    state = {}
    for name, value in params.items():
        layer, leaf = name.split(".")
        state[f"{names[layer]}.{leaf}"] = value.flatten(2) if layer.startswith("fc") and value.ndim == 4 else value
    return module, state


def splits(n: int, c: int, r: int) -> tuple[Tensor, ...]:
    """R maps that differ."""
    return torch.randn(n, r * c, 4, 3, dtype=torch.float64).chunk(r, 1)


@pytest.mark.parametrize(("radix", "groups"), [(2, 1), (4, 2)])
def test_weights_sum_to_one(radix: int, groups: int) -> None:
    """For every channel, over the splits (claim splat-weights)."""
    module = randomise(Attention(16, 16, 1, groups, radix=radix).double())
    a = module.weigh_splits(splits(3, 16, radix))
    assert a.shape == (3, radix, 16)
    assert a.min() > 0
    torch.testing.assert_close(a.sum(1), torch.ones(3, 16, dtype=torch.float64))


def test_equal_splits_give_their_common_value() -> None:
    """Whatever the weights (claim splat-equal)."""
    module = randomise(Attention(8, 8).double())
    with torch.no_grad():
        for p in (module.norm.weight, module.norm.bias):
            p[8:] = p[:8]
        module.conv.weight[8:] = module.conv.weight[:8]
    x = torch.randn(3, 4, 5, 5, dtype=torch.float64).repeat(1, 2, 1, 1)
    u = F.relu(module.norm(module.conv(x))).chunk(2, 1)
    torch.testing.assert_close(u[0], u[1])
    torch.testing.assert_close(module(x), u[0])


def test_radix_one_is_an_excitation() -> None:
    """A sigmoid of two layers with a norm, on the convolution's output (claim splat-radix1)."""
    module = randomise(Attention(8, 8, radix=1).double()).eval()
    x = torch.randn(2, 8, 4, 4, dtype=torch.float64)
    u = F.relu(module.norm(module.conv(x)))
    z = F.relu(module.hidden_norm(module.reduce(u.mean((2, 3))[..., None])))
    torch.testing.assert_close(module(x), u * torch.sigmoid(module.expand(z))[..., None])


def test_order_of_groups_and_splits() -> None:
    """The last layer's outputs are (group, split, channel): with a bias only, each channel finds its own."""
    module = Attention(4, 8, 1, 2).double()
    nn.init.zeros_(module.expand.weight)
    module.expand.bias.data = torch.tensor([1.0, 2, 3, 4, 5, 6, 7, 8], dtype=torch.float64).log()
    a = module.eval().weigh_splits(splits(1, 4, 2))[0]
    first = torch.tensor([1 / 4, 2 / 6, 5 / 12, 6 / 14], dtype=torch.float64)
    torch.testing.assert_close(a, torch.stack((first, 1 - first)))


def test_stride_is_a_pool_after_or_before() -> None:
    """As in ResNeSt and in its fast variants: the same weights, the pool on the output or on the input."""
    plain = randomise(Attention(8, 8).double()).eval()
    x, pool = torch.randn(2, 8, 7, 6, dtype=torch.float64), nn.AvgPool2d(3, 2, 1)
    for where, expected in (("after", pool(plain(x))), ("before", plain(pool(x)))):
        module = Attention(8, 8, 2, pool=where).double().eval()
        module.load_state_dict(plain.state_dict())
        torch.testing.assert_close(module(x), expected)


def test_card_puts_it_in_place_of_conv_and_norm() -> None:
    """It brings its own norm and replaces the first convolution of a basic block."""
    card = attention.describe_mechanism("splat").card
    assert (card.site, card.replaces_norm, card.convs) == ("conv", True, "first")


@pytest.mark.parametrize(
    ("facts", "options", "word"),
    [({}, {"radix": 0}, "radix"), ({}, {"pool": "max"}, "pool"), ({"groups": 16}, {}, "16 groups of 2 splits")],
)
def test_refusals(facts: dict[str, int], options: dict[str, Any], word: str) -> None:
    """What does not fit is refused in words that name it."""
    with pytest.raises(ValueError, match=word):
        Attention(**{"channels": 16, "channels_in": 16, **facts}, **options)
