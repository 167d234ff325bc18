"""Own facts of large kernel attention."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from attncli.attention.channel_spatial.lka import PARTS, Attention
from tests.attention.case import randomise

OPTIONS: list[dict[str, Any]] = [
    {},
    {"separable": True},
    {"block": True},
    {"kernel": 7},
    {"kernel": 35, "separable": True, "block": True},
]


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """C^2 + C and the depth-wise parts with their biases; the block has 2 C^2 + 2 C more."""
    c = facts["channels"]
    a, b, _ = PARTS[options.get("kernel", 23)]
    parts = 2 * a + 2 * b + 4 if options.get("separable") else a * a + b * b + 2
    return c * c + c + parts * c + (2 * c * c + 2 * c) * options.get("block", False)


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """LKA(dim), VAN's Attention(d_model), LSKA(dim, k_size)."""
    ctor = meta["ctor"]
    separable, block = "k_size" in ctor, "d_model" in ctor
    order = ["conv0h", "conv0v", "conv_spatial_h", "conv_spatial_v"] if separable else ["conv0", "conv_spatial"]
    names = {layer: f"window.{i}" for i, layer in enumerate([*order, "conv1"])}
    names |= {"proj_1": "project_in", "proj_2": "project_out"}
    state = {}
    for name, value in params.items():
        layer, leaf = name.removeprefix("spatial_gating_unit.").split(".")
        state[f"{names[layer]}.{leaf}"] = value
    width = ctor["d_model"] if block else ctor["dim"]
    return Attention(width, kernel=ctor.get("k_size", 23), separable=separable, block=block), state


@pytest.mark.parametrize(("kernel", "separable"), [(23, False), (23, True), (11, False)])
def test_window(kernel: int, separable: bool) -> None:
    """The gate of a position sees its window of kernel x kernel and no more (claim lka-window)."""
    module = randomise(Attention(2, kernel=kernel, separable=separable).double())
    x = torch.randn(1, 2, 31, 31, dtype=torch.float64, requires_grad=True)
    module.window(x)[0, :, 15, 15].sum().backward()
    seen = x.grad[0].abs().sum(0).nonzero() - 15
    small, large, dilation = PARTS[kernel]
    assert seen.abs().max() == small // 2 + dilation * (large // 2)
    if kernel == 23:
        assert seen.abs().max() == 11


def test_without_biases_it_is_of_degree_two() -> None:
    """y(2 x) = 4 y(x) (claim lka-degree)."""
    module = Attention(4).double()
    x = torch.randn(1, 4, 6, 6, dtype=torch.float64)
    torch.testing.assert_close(module(2 * x), 4 * module(x))


def test_separable_form_saves_48_per_channel() -> None:
    """At kernel 23 (claim lka-lska-params)."""
    plain, separable = (sum(p.numel() for p in Attention(8, separable=s).parameters()) for s in (False, True))
    assert plain - separable == 48 * 8


def test_separable_kernels_are_outer_products() -> None:
    """Rows then columns equal the full depth-wise kernels of their outer products."""
    separable, full = randomise(Attention(3, separable=True).double()), Attention(3).double()
    layers = list(separable.window)
    with torch.no_grad():
        for layer in layers[:4]:
            layer.bias.zero_()
        for i in range(2):
            full.window[i].weight.copy_(layers[2 * i].weight * layers[2 * i + 1].weight)
        full.window[2].load_state_dict(layers[4].state_dict())
    x = torch.randn(2, 3, 9, 7, dtype=torch.float64)
    torch.testing.assert_close(separable(x), full(x))


def test_unknown_kernel_is_refused() -> None:
    """Six sides are known."""
    with pytest.raises(ValueError, match="kernel=9"):
        Attention(8, kernel=9)
