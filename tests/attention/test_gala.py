"""Own facts of GALA."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from attncli.attention.channel_spatial.gala import Attention, scale_variance
from tests.attention.case import randomise
from tests.shared import shared

OPTIONS: list[dict[str, Any]] = [
    {},
    {"reduction": 16},
    {"squash": "sigmoid"},
    {"extra_conv": 1},
    {"interaction": "additive"},
    {"interaction": "multiplicative"},
]


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """2Ch + h + C for what, Ch + 2h + 1 for where, 2C to mix, 25 h^2 + h for an extra convolution."""
    c = facts["channels"]
    h = max(c // options.get("reduction", 4), 1)
    mix = 2 * c * (options.get("interaction", "both") == "both")
    return 2 * c * h + h + c + c * h + 2 * h + 1 + mix + options.get("extra_conv", 0) * (25 * h * h + h)


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """fc1, fc2, conv1, conv2, a and m of the fixture's transcription, GALA(channels, r)."""
    ctor = meta.get("ctor") or meta.get("args") or {}
    h, c = params["fc1.weight"].shape
    module = Attention(
        c,
        reduction=c // h,
        squash=ctor.get("squash", meta.get("squash", "tanh")),
        interaction="both" if "a" in params else ctor.get("interaction", "additive"),
    )
    names = {"fc1": "what.0", "fc2": "what.2", "conv1": "where.0", "conv2": "where.2"}
    state = {}
    for name, value in params.items():
        layer, _, leaf = name.partition(".")
        state[f"{names[layer]}.{leaf}" if leaf else name] = value if leaf else value.flatten()
    return module, state


def fixture() -> tuple[nn.Module, dict[str, Tensor], dict[str, Tensor]]:
    """Our module, its state and the arrays of the fixture."""
    loaded = np.load(shared("parity/gala.npz"))
    data = {k: torch.from_numpy(loaded[k]) for k in loaded.files if k != "meta"}
    module, state = official(
        json.loads(str(loaded["meta"])), {k[6:]: v for k, v in data.items() if k.startswith("param/")}
    )
    module.double().load_state_dict(state)
    return module, state, data


def test_both_maps_equal_the_fixture() -> None:
    """What and where, before they are mixed."""
    module, _, data = fixture()
    g = module.what(data["x"].mean((2, 3)))[:, :, None, None]
    torch.testing.assert_close(g, data["global_map"], rtol=0, atol=1e-9)
    torch.testing.assert_close(module.where(data["x"]), data["local_map"], rtol=0, atol=1e-9)


def test_sigmoid_equals_the_fixture() -> None:
    """squash="sigmoid" with the same weights."""
    _, state, data = fixture()
    module = Attention(16, squash="sigmoid").double()
    module.load_state_dict(state)
    torch.testing.assert_close(module(data["x"]), data["y_sigmoid"], rtol=0, atol=1e-9)


def test_hand_computed_mix() -> None:
    """With g = 2 and l = 3, a = 0.1 and m = -0.05: s = tanh(0.1 * 5 - 0.05 * 6) = tanh(0.2)."""
    module = Attention(1).double()
    with torch.no_grad():
        for p in module.parameters():
            p.zero_()
        module.what[2].bias.fill_(2)
        module.where[2].bias.fill_(3)
        module.a.fill_(0.1)
        module.m.fill_(-0.05)
    x = torch.randn(2, 1, 3, 3, dtype=torch.float64)
    torch.testing.assert_close(module(x), x * torch.tanh(torch.tensor(0.2, dtype=torch.float64)))


def test_setting_a_or_m_to_zero_gives_the_other_forms() -> None:
    """m = 0 and a = 1 is the additive form, a = 0 and m = 1 the multiplicative one (claim gala-extends-se)."""
    x = torch.randn(2, 8, 4, 5, dtype=torch.float64)
    both = randomise(Attention(8).double())
    for interaction, a, m in (("additive", 1.0, 0.0), ("multiplicative", 0.0, 1.0)):
        nn.init.constant_(both.a, a)
        nn.init.constant_(both.m, m)
        part = Attention(8, interaction=interaction).double()
        part.load_state_dict({k: v for k, v in both.state_dict().items() if k not in ("a", "m")})
        torch.testing.assert_close(part(x), both(x))


def test_without_where_it_is_a_channel_gate() -> None:
    """With m = 0 and l constant all positions of a channel have one weight (claim gala-extends-se)."""
    module = randomise(Attention(8).double())
    nn.init.zeros_(module.m)
    nn.init.zeros_(module.where[2].weight)
    x = torch.randn(2, 8, 4, 5, dtype=torch.float64)
    s = module(x) / x
    torch.testing.assert_close(s, s.mean((2, 3), keepdim=True).expand_as(s))


def test_gate_range() -> None:
    """The gate lies in (-1, 1), so |y| < |x| (claim gala-range), and takes both signs."""
    module = randomise(Attention(8).double())
    x = torch.randn(4, 8, 6, 5, dtype=torch.float64)
    y = module(x)
    assert (y.abs() < x.abs()).all()
    assert {-1, 1} <= set((y / x).sign().unique().tolist())


def test_initialisation() -> None:
    """Variance 1 / fan-in for convolutions and 1 for a and m, none beyond two deviations; Xavier; zero biases."""
    torch.manual_seed(0)
    module = Attention(1024, reduction=4)
    assert module.where[0].weight.std().item() == pytest.approx(1 / 32, rel=0.02)
    assert module.a.std().item() == pytest.approx(1, rel=0.08)
    assert module.a.abs().max() < 2 / 0.8796
    assert module.what[0].weight.abs().max().item() == pytest.approx((6 / 1280) ** 0.5, rel=0.01)
    assert not any(p.any() for n, p in module.named_parameters() if n.endswith("bias"))
    assert scale_variance(torch.empty(100_000), 4).std().item() == pytest.approx(0.5, rel=0.02)


def test_parameters_over_a_resnet50() -> None:
    """All 16 bottlenecks: 29,377,608 with r = 16 and 40,703,352 with r = 4 (claim gala-params)."""
    for r, total in ((16, 29377608), (4, 40703352)):
        added = sum(
            blocks * parameters({"channels": c}, {"reduction": r})
            for c, blocks in ((256, 3), (512, 4), (1024, 6), (2048, 3))
        )
        assert 25557032 + added == total


@pytest.mark.parametrize("options", [{"squash": "relu"}, {"interaction": "none"}, {"reduction": 0}, {"extra_conv": -1}])
def test_refusals(options: dict[str, Any]) -> None:
    """Options that make no block are refused with a sentence."""
    with pytest.raises(ValueError, match=r"tanh or sigmoid|0 or more"):
        Attention(16, **options)
