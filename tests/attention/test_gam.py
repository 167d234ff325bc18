"""Own facts of the global attention mechanism."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from attncli.attention.channel_spatial.gam import Attention
from tests.attention.case import randomise

OPTIONS: list[dict[str, Any]] = [
    {},
    {"reduction": 16},
    {"reduction": 16, "kernel": 3, "channel_gate": "sigmoid", "padding": "replicate"},
    {"groups": 4, "shuffle": 4, "kernel": 3},
]


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """2 C h + h + C, 2 k^2 C h / g + h + C, and two norms 2 h + 2 C."""
    c, g = facts["channels"], options.get("groups", 1)
    h = max(c // options.get("reduction", 4), g)
    return 2 * c * h + h + c + 2 * options.get("kernel", 7) ** 2 * c * h // g + 3 * (h + c)


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """Three ports: linear1 to norm2, or channel_attention.{0,2} and spatial_attention.{0,1,3,4}."""
    plain = "linear1.weight" in params
    names = {"linear1": "reduce", "linear2": "expand", "conv1": "conv_in", "conv2": "conv_out"}
    names |= {"norm1": "norm_in", "norm2": "norm_out"}
    names |= {"channel_attention.0": "reduce", "channel_attention.2": "expand", "spatial_attention.0": "conv_in"}
    names |= {f"spatial_attention.{i}": n for i, n in (("1", "norm_in"), ("3", "conv_out"), ("4", "norm_out"))}
    state = {}
    for name, value in params.items():
        layer, _, leaf = name.rpartition(".")
        is_linear = names[layer] in ("reduce", "expand") and leaf == "weight"
        state[f"{names[layer]}.{leaf}"] = value[:, :, None, None] if is_linear else value
    hidden, c = state["reduce.weight"].shape[:2]
    module = Attention(
        c,
        reduction=c // hidden,
        groups=c // state["conv_in.weight"].shape[1],
        shuffle=4 if meta["cls"] == "GAMAttention" else 1,
        channel_gate="sigmoid" if meta["slug"] == "gam-sigmoid" else "none",
        padding="replicate" if plain else "zeros",
    )
    return module, state


def test_channel_part_sees_its_own_position() -> None:
    """m at a position depends on that position alone (claim gam-pointwise)."""
    module = randomise(Attention(8).double())
    x = torch.randn(1, 8, 4, 4, dtype=torch.float64, requires_grad=True)
    module.compute_channel_gate(x)[0, :, 1, 2].sum().backward()
    assert x.grad[0].abs().sum(0).nonzero().tolist() == [[1, 2]]


def test_spatial_part_sees_a_window() -> None:
    """13 x 13 in eval mode: two convolutions of 7 (claim gam-window)."""
    module = randomise(Attention(4).double()).eval()
    x = torch.randn(1, 4, 17, 17, dtype=torch.float64, requires_grad=True)
    module.compute_spatial_gate(x)[0, :, 8, 8].sum().backward()
    assert (x.grad[0].abs().sum(0).nonzero() - 8).abs().max() == 6


def test_squashed_channel_part() -> None:
    """channel_gate=sigmoid is the sigmoid of the same m."""
    plain, squashed = randomise(Attention(8).double()), Attention(8, channel_gate="sigmoid").double()
    squashed.load_state_dict(plain.state_dict())
    x = torch.randn(1, 8, 3, 3, dtype=torch.float64)
    torch.testing.assert_close(squashed.compute_channel_gate(x), plain.compute_channel_gate(x).sigmoid())


def test_shuffle_permutes_the_finished_map() -> None:
    """Over two groups channel 1 of the map is channel C / 2 of the plain one."""
    plain, shuffled = randomise(Attention(8).double()).eval(), Attention(8, shuffle=2).double().eval()
    shuffled.load_state_dict(plain.state_dict())
    x = torch.randn(1, 8, 3, 3, dtype=torch.float64)
    order = [0, 4, 1, 5, 2, 6, 3, 7]
    torch.testing.assert_close(shuffled.compute_spatial_gate(x), plain.compute_spatial_gate(x)[:, order])


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"channel_gate": "tanh"}, "channel_gate"),
        ({"padding": "same"}, "padding"),
        ({"kernel": 2}, "odd"),
        ({"groups": 3}, "groups"),
    ],
)
def test_refusals(options: dict[str, Any], word: str) -> None:
    """What does not fit is refused in words that name it."""
    with pytest.raises(ValueError, match=word):
        Attention(8, **options)
