"""Own facts of CBAM."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from attncli.attention.channel_spatial.cbam import Attention, pool_positions
from tests.attention.case import randomise
from tests.shared import shared

OPTIONS: list[dict[str, Any]] = [
    {},
    {"reduction": 4},
    {"reduction": 64},
    {"kernel_size": 3},
    {"pool_types": ("avg",)},
    {"pool_types": ("lp", "lse", "max")},
    {"bn_momentum": 0.1},
    {"mlp_bias": False},
    {"channel": False},
    {"spatial": False},
    {"light": True},
    {"order": "spatial-first"},
    {"order": "parallel"},
]


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """2Ch + h + C for the MLP, 2k^2 + 2 for the spatial gate, or k^2 + 2 for that of one plane."""
    c, k = facts["channels"], options.get("kernel_size", 7)
    h = max(c // options.get("reduction", 16), 1)
    mlp = 2 * c * h + (h + c) * options.get("mlp_bias", True)
    return mlp * options.get("channel", True) + ((2 - options.get("light", False)) * k * k + 2) * options.get(
        "spatial", True
    )


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """CBAM(gate_channels, reduction_ratio, pool_types, no_spatial)."""
    ctor = meta.get("ctor") or meta.get("args") or {}
    h, c = params["ChannelGate.mlp.1.weight"].shape
    spatial = "SpatialGate.spatial.conv.weight" in params
    module = Attention(
        c,
        reduction=c // h,
        pool_types=tuple(ctor.get("pool_types", ("avg", "max"))),
        kernel_size=params["SpatialGate.spatial.conv.weight"].shape[-1] if spatial else 7,
        spatial=spatial,
    )
    names = {
        "ChannelGate.mlp.1.": "mlp.0.",
        "ChannelGate.mlp.3.": "mlp.2.",
        "SpatialGate.spatial.conv.": "spatial.0.",
        "SpatialGate.spatial.bn.": "spatial.1.",
    }
    prefix = {k: next(o for o in names if k.startswith(o)) for k in params}
    return module, {names[o] + k.removeprefix(o): params[k] for k, o in prefix.items()}


def test_light_gates_see_the_mean_of_both_pools() -> None:
    """By the formula, with random weights: one vector for the MLP, one plane for the spatial kernel."""
    module = randomise(Attention(4, reduction=2, kernel_size=3, light=True).double()).eval()
    x = torch.randn(2, 4, 5, 3, dtype=torch.float64)
    pooled = (x.mean((2, 3)) + x.amax((2, 3))) / 2
    weighed = x * torch.sigmoid(module.mlp(pooled))[:, :, None, None]
    plane = (weighed.mean(1, keepdim=True) + weighed.amax(1, keepdim=True)) / 2
    conv, norm = module.spatial
    expected = weighed * torch.sigmoid(norm(nn.functional.conv2d(plane, conv.weight, padding=1)))
    torch.testing.assert_close(module(x), expected)


@pytest.mark.parametrize("order", ["channel-first", "spatial-first", "parallel"])
def test_orders_of_the_two_gates(order: str) -> None:
    """By the formulas, with plain operations: which map each gate is computed of (CBAM paper, Table 3)."""
    module = randomise(Attention(4, reduction=2, kernel_size=3, order=order).double()).eval()
    conv, norm = module.spatial
    x = torch.randn(2, 4, 5, 3, dtype=torch.float64)

    def weigh_channels(t: Tensor) -> Tensor:
        return torch.sigmoid(module.mlp(t.mean((2, 3))) + module.mlp(t.amax((2, 3))))[:, :, None, None]

    def weigh_positions(t: Tensor) -> Tensor:
        planes = torch.cat([t.amax(1, keepdim=True), t.mean(1, keepdim=True)], 1)
        return torch.sigmoid(norm(nn.functional.conv2d(planes, conv.weight, padding=1)))

    channel, spatial = weigh_channels(x), weigh_positions(x)
    expected = {
        "channel-first": x * channel * weigh_positions(x * channel),
        "spatial-first": x * spatial * weigh_channels(x * spatial),
        "parallel": x * channel * spatial,
    }
    torch.testing.assert_close(module(x), expected[order])
    assert all(not torch.allclose(expected[order], y) for name, y in expected.items() if name != order)
    seen = [o.values.shape[1] for o in module.observe((x,), module(x))]
    assert seen == ([1, 4] if order == "spatial-first" else [4, 1])  # channels of each gate, the first applied first


def test_channel_gate_alone_equals_official() -> None:
    """Without the spatial gate the output is that of the official class with no_spatial=True."""
    data = np.load(shared("parity/cbam.npz"))
    params = {k[6:]: torch.from_numpy(data[k]) for k in data.files if k.startswith("param/ChannelGate")}
    module, state = official(json.loads(str(data["meta"])), params)
    module.double().load_state_dict(state)
    y = module(torch.from_numpy(data["x"]))
    torch.testing.assert_close(y, torch.from_numpy(data["y_channel_only"]), rtol=0, atol=1e-9)


def test_hand_computed_channel_gate() -> None:
    """W0 = (1, 1), W1 = (1, -1), b1 = (0.5, 0): the gate is sigmoid of (s + 1, -s), s = means + maxima."""
    module = Attention(2, reduction=2, spatial=False).double()
    with torch.no_grad():
        module.mlp[0].weight.fill_(1)
        module.mlp[2].weight.copy_(torch.tensor([[1.0], [-1.0]]))
        module.mlp[2].bias.copy_(torch.tensor([0.5, 0.0]))
    x = torch.tensor([[[[1.0, 3.0]], [[0.0, 2.0]]]], dtype=torch.float64)  # means 2, 1; maxima 3, 2
    gate = torch.sigmoid(torch.tensor([8 + 1.0, -8.0], dtype=torch.float64)).view(1, 2, 1, 1)
    torch.testing.assert_close(module(x), x * gate)


def test_spatial_gate_puts_the_maximum_first() -> None:
    """With a 1x1 kernel (2, 3) the gate's logit is 2 max + 3 mean over channels."""
    module = Attention(3, kernel_size=1, channel=False).double().eval()
    with torch.no_grad():
        module.spatial[0].weight.copy_(torch.tensor([2.0, 3.0]).view(1, 2, 1, 1))
        module.spatial[1].weight.fill_((1 + 1e-5) ** 0.5)  # undoes the epsilon of the norm
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    logit = 2 * x.max(1, keepdim=True)[0] + 3 * x.mean(1, keepdim=True)
    torch.testing.assert_close(module(x), x * torch.sigmoid(logit))


def test_new_block_halves_the_channel_gated_map() -> None:
    """At initialisation y = M_c x / 2 exactly, training or not (claim cbam-init-half)."""
    module = Attention(32).double()
    x = torch.randn(2, 32, 5, 5, dtype=torch.float64)
    whole, module.spatial = module.spatial, None
    gated = module(x)
    module.spatial = whole
    assert torch.equal(module(x), 0.5 * gated)
    assert torch.equal(module.eval()(x), 0.5 * gated)


def test_initialisation_of_the_official_networks() -> None:
    """Biases and the norm's weight are 0, the momentum 0.01, the kernel drawn with variance 2 / k^2."""
    torch.manual_seed(0)
    module = Attention(64)
    assert not any(p.any() for n, p in module.named_parameters() if n.endswith("bias") or n == "spatial.1.weight")
    assert module.spatial[1].momentum == 0.01
    drawn = torch.cat([Attention(1).spatial[0].weight.flatten() for _ in range(50)])
    assert drawn.std().item() == pytest.approx((2 / 49) ** 0.5, rel=0.05)


def test_pools() -> None:
    """avg, max, lp and lse of the values 1, 2, 2 are 5/3, 2, 3 and log(e + 2 e^2)."""
    x = torch.tensor([1.0, 2.0, 2.0], dtype=torch.float64).view(1, 1, 1, 3)
    got = torch.cat([pool_positions(x, kind) for kind in ("avg", "max", "lp", "lse")]).flatten()
    e = torch.tensor(1.0, dtype=torch.float64).exp()
    expected = torch.tensor([5 / 3, 2, 3, (e + 2 * e**2).log()], dtype=torch.float64)
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"kernel_size": 4}, "odd"),
        ({"pool_types": ()}, "one or more"),
        ({"pool_types": ("median",)}, "one or more"),
        ({"reduction": 0}, "at least 1"),
        ({"channel": False, "spatial": False}, "nothing"),
        ({"order": "last"}, "parallel"),
        ({"order": "parallel", "spatial": False}, "both gates"),
    ],
)
def test_refusals(options: dict[str, Any], word: str) -> None:
    """Options that make no block are refused with a sentence."""
    with pytest.raises(ValueError, match=word):
        Attention(16, **options)
