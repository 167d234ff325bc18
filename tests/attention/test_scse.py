"""Own facts of scSE."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from attncli.attention.channel_spatial.scse import Attention, combine_maps
from tests.attention.case import randomise
from tests.shared import shared

OPTIONS: list[dict[str, Any]] = [
    {},
    {"reduction": 16},
    {"combine": "add"},
    {"combine": "mul"},
    {"combine": "concat"},
    {"branches": "channel"},
    {"branches": "spatial"},
]


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """2Ch + h + C for the channels, C + 1 for the positions."""
    c, branches = facts["channels"], options.get("branches", "both")
    h = max(c // options.get("reduction", 2), 1)
    return (branches != "spatial") * (2 * c * h + h + c) + (branches != "channel") * (c + 1)


def width(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """Both maps side by side have 2C channels."""
    return facts["channels"] * (2 if options.get("combine") == "concat" else 1)


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """ChannelSpatialSELayer(num_channels, reduction_ratio) with cSE.fc1, cSE.fc2 and sSE.conv, or one of its parts.

    ChannelSELayer and SpatialSELayer alone have no prefix.
    """
    ctor = meta.get("ctor") or meta.get("args") or {}
    squeeze, conv = (next((k for k in params if k.endswith(end)), None) for end in ("fc1.weight", "conv.weight"))
    c = params[squeeze].shape[1] if squeeze else params[conv].shape[1]
    module = Attention(
        c,
        reduction=c // params[squeeze].shape[0] if squeeze else 2,
        combine=ctor.get("combine", meta.get("combine", "max")),
        branches="both" if squeeze and conv else "channel" if squeeze else "spatial",
    )
    state = {}
    for name, value in params.items():
        layer, leaf = name.split(".")[-2:]
        state[{"fc1": "channel.0.", "fc2": "channel.2.", "conv": "spatial."}[layer] + leaf] = value.reshape(
            value.shape[:2]
        )
    return module, state


@pytest.mark.parametrize(
    ("array", "options"),
    [
        ("y_add", {"combine": "add"}),
        ("y_mul", {"combine": "mul"}),
        ("y_concat", {"combine": "concat"}),
        ("y_cse", {"branches": "channel"}),
        ("y_sse", {"branches": "spatial"}),
    ],
)
def test_other_fusions_and_branches_equal_the_fixture(array: str, options: dict[str, Any]) -> None:
    """The three other fusions and each branch alone, from the official weights."""
    data = np.load(shared("parity/scse.npz"))
    params = {k[6:]: torch.from_numpy(data[k]) for k in data.files if k.startswith("param/")}
    _, state = official(json.loads(str(data["meta"])), params)
    module = Attention(16, **options).double()
    module.load_state_dict({k: v for k, v in state.items() if k in module.state_dict()})
    y = module(torch.from_numpy(data["x"]))
    torch.testing.assert_close(y, torch.from_numpy(data[array]), rtol=0, atol=1e-9)


def test_at_one_half_the_fusions_are_x_halves_and_squares() -> None:
    """With zero last layers both gates are 1/2: max gives x / 2, add x, mul x^2 / 4."""
    x = torch.randn(2, 4, 3, 3, dtype=torch.float64)
    for combine, expected in (("max", x / 2), ("add", x), ("mul", x**2 / 4)):
        module = Attention(4, combine=combine).double()
        for layer in (module.channel[2], module.spatial):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        torch.testing.assert_close(module(x), expected)


def test_max_takes_the_more_weakened_negative_value() -> None:
    """The maximum is that of the signed products, not x times the larger gate."""
    module = randomise(Attention(4).double())
    x = -torch.rand(2, 4, 3, 3, dtype=torch.float64) - 0.1
    c = torch.sigmoid(module.channel(x.mean((2, 3))))[:, :, None, None]
    s = torch.sigmoid(torch.einsum("nchw,c->nhw", x, module.spatial.weight[0]) + module.spatial.bias)[:, None]
    torch.testing.assert_close(module(x), x * torch.minimum(c.expand_as(x), s.expand_as(x)))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["NCHW", "NHWC"])
def test_spatial_squeeze_is_a_convolution(layout: torch.memory_format) -> None:
    """sSE equals the 1x1 convolution it stands for, with its gradients, in either layout."""
    module = Attention(6, branches="spatial").double()
    conv = nn.Conv2d(6, 1, 1).double()
    conv.load_state_dict({"weight": module.spatial.weight[:, :, None, None], "bias": module.spatial.bias})
    x = torch.randn(2, 6, 4, 5, dtype=torch.float64).to(memory_format=layout).requires_grad_()
    got, expected = module(x), x * torch.sigmoid(conv(x))
    torch.testing.assert_close(got, expected)
    for a, b in zip(
        torch.autograd.grad((got**2).sum(), (x, *module.parameters())),
        torch.autograd.grad((expected**2).sum(), (x, *conv.parameters())),
        strict=True,
    ):
        torch.testing.assert_close(a, b.reshape(a.shape))


def test_equal_values_share_the_gradient() -> None:
    """Where u = v, as after a ReLU that gave 0, each gets half of the gradient; else the larger gets it all."""
    u = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64, requires_grad=True)
    v = torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64, requires_grad=True)
    y = combine_maps(u, v, "max")
    assert y.tolist() == [3, 2, 3]
    y.sum().backward()
    assert (u.grad.tolist(), v.grad.tolist()) == ([0, 0.5, 1], [1, 0.5, 0])


def test_narrow_places_keep_one_hidden_channel() -> None:
    """h = max(C // r, 1)."""
    assert Attention(8, reduction=16).channel[0].out_features == 1


def test_positions_cost_c_plus_one() -> None:
    """The spatial squeeze adds C + 1 parameters (claim scse-spatial-cheap)."""
    both, channel = (sum(p.numel() for p in Attention(48, branches=b).parameters()) for b in ("both", "channel"))
    assert both - channel == 49


@pytest.mark.parametrize("options", [{"reduction": 0}, {"combine": "min"}, {"branches": "none"}])
def test_refusals(options: dict[str, Any]) -> None:
    """Options that make no block are refused with a sentence."""
    with pytest.raises(ValueError, match=r"max, add, mul|channel or spatial"):
        Attention(16, **options)
