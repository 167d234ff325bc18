"""Own facts of SE."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from attncli.attention.channel.se import Attention, hidden_width

OPTIONS: list[dict[str, Any]] = [
    {},
    {"reduction": 4},
    {"reduction": 64},
    {"bias": True},
    {"squeeze": "max"},
    {"activation": "prelu", "reduction": 4},
    {"gate": "tanh", "reduction": 4},
    {"gate": "relu", "reduction": 4},
    {"divisor": 8},
    {"init_std": 0.001, "bias": True},
    {"layers": "none"},
    {"layers": "diagonal"},
    {"layers": "diagonal", "bias": True, "init_std": 0.001},
    {"layers": "full"},
]

RESNET18 = (64, 64, 128, 128, 256, 256, 512, 512)
RESNET50 = (256,) * 3 + (512,) * 4 + (1024,) * 6 + (2048,) * 3
RESNET20 = (16,) * 3 + (32,) * 3 + (64,) * 3


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """2 C d, with biases d + C more, with PReLU d more; d = max(C // r, 1), or timm's multiple of 8.

    Other layers: none, one weight per channel, or C x C of them, with C biases.
    """
    c, r = facts["channels"], options.get("reduction", 16)
    if options.get("layers", "bottleneck") != "bottleneck":
        return {"none": 0, "diagonal": c, "full": c * c}[options["layers"]] + c * options.get("bias", False)
    d = max(8, int(c / r + 4) // 8 * 8) if options.get("divisor") == 8 else max(c // r, 1)
    return 2 * c * d + (d + c) * options.get("bias", False) + d * (options.get("activation") == "prelu")


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """SELayer(channel, reduction=16)."""
    ctor = meta["ctor"]
    module = Attention(ctor["channel"], reduction=ctor.get("reduction", 16))
    return module, {"reduce.weight": params["fc.0.weight"], "expand.weight": params["fc.2.weight"]}


@pytest.mark.parametrize(
    ("widths", "plain", "biased"),
    [(RESNET18, 87_040, 89_080), (RESNET50, 2_514_944, 2_530_992), (RESNET20, 2_016, 2_373)],
)
def test_totals_of_the_card(widths: tuple[int, ...], plain: int, biased: int) -> None:
    """Over the blocks of a backbone the parameters are the card's, without and with biases (se-params-r50)."""
    assert sum(parameters({"channels": c}, {}) for c in widths) == plain
    assert sum(parameters({"channels": c}, {"bias": True}) for c in widths) == biased


def test_divisor_gives_the_widths_of_timm() -> None:
    """Rounded to multiples of 8, with biases, resnet18 gains 90,112 parameters as timm's seresnet18 does."""
    widths = {c: hidden_width(c, divisor=8) for c in RESNET18}
    assert widths == {64: 8, 128: 8, 256: 16, 512: 32}
    assert sum(2 * c * widths[c] + c + widths[c] for c in RESNET18) == 90_112


def test_hand_computed_gate() -> None:
    """Means (1, 2), hidden unit relu(1 + 2/2) = 2, logits (2, -2): the gates are their sigmoids."""
    module = Attention(2, reduction=2).double()
    w1, w2 = torch.tensor([[1.0, 0.5]]), torch.tensor([[1.0], [-1.0]])
    module.load_state_dict({"reduce.weight": w1, "expand.weight": w2})
    x = torch.tensor([[[[0.0, 2.0]], [[1.0, 3.0]]]], dtype=torch.float64)
    s = torch.tensor([2.0, -2.0], dtype=torch.float64).sigmoid().view(1, 2, 1, 1)
    torch.testing.assert_close(module(x), x * s, rtol=0, atol=1e-15)


def test_zero_excitation_halves() -> None:
    """With W2 = 0 and no bias the gate is exactly 0.5 (claim se-formula)."""
    module = Attention(32)
    nn.init.zeros_(module.expand.weight)
    x = torch.randn(2, 32, 5, 3)
    assert torch.equal(module(x), 0.5 * x)


def test_only_the_mean_counts() -> None:
    """Permuting the pixels permutes the output likewise (claim se-global)."""
    module = Attention(32).double()
    x = torch.randn(2, 32, 20, 1, dtype=torch.float64)
    order = torch.randperm(20)
    torch.testing.assert_close(module(x[:, :, order]), module(x)[:, :, order], rtol=0, atol=1e-14)


@pytest.mark.parametrize("gate", ["sigmoid", "tanh", "relu"])
def test_gate_is_the_named_function(gate: str) -> None:
    """The gate is the named function of the same logits."""
    module = Attention(16, reduction=2, gate=gate).double()
    x = torch.randn(2, 16, 4, 4, dtype=torch.float64)
    logits = module.expand(module.reduce(x.mean((2, 3))).relu())
    torch.testing.assert_close(module(x), x * getattr(torch, gate)(logits)[:, :, None, None])


def test_max_squeeze_sees_the_largest_value() -> None:
    """With squeeze=max, changing a pixel below its channel's largest leaves all others as they are."""
    module = Attention(8, reduction=2, squeeze="max").double()
    x = torch.rand(1, 8, 3, 3, dtype=torch.float64)
    x[..., 0, 0] = 2
    changed = x.clone()
    changed[..., 2, 2] = -1
    assert torch.equal(module(x)[..., :2, :], module(changed)[..., :2, :])


def test_layers_of_eca_nets_table() -> None:
    """The gate is sigmoid of z, of w * z or of W z: nothing, each channel alone, and all channels."""
    z = torch.tensor([[1.0, 2.0]])
    x = z[:, :, None, None]
    none, diagonal, full = (Attention(2, layers=layers) for layers in ("none", "diagonal", "full"))
    with torch.no_grad():
        diagonal.expand.weight.copy_(torch.tensor([3.0, -1.0]))
        full.expand.weight.copy_(torch.tensor([[0.0, 1.0], [1.0, 1.0]]))
    for module, logits in ((none, [1.0, 2.0]), (diagonal, [3.0, -2.0]), (full, [2.0, 3.0])):
        torch.testing.assert_close(module(x), x * torch.tensor(logits).sigmoid()[None, :, None, None])


def test_init_std() -> None:
    """init_std=0.001 draws both layers with that deviation, so the gate starts within 1e-3 of 0.5."""
    module = Attention(256, init_std=0.001, bias=True)
    assert 0.0009 < module.reduce.weight.std().item() < 0.0011
    assert module.reduce.bias.abs().max() == module.expand.bias.abs().max() == 0
    x = torch.ones(1, 256, 2, 2)
    torch.testing.assert_close(module(x), x * 0.5, rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    "options", [{"reduction": 0}, {"divisor": 0}, {"gate": "softmax"}, {"squeeze": "sum"}, {"layers": ""}]
)
def test_refusals(options: dict[str, Any]) -> None:
    """A ratio or divisor below 1, and unknown names, are refused."""
    with pytest.raises(ValueError, match=next(iter(options))):
        Attention(8, **options)
