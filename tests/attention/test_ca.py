"""Own facts of coordinate attention."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from attncli.attention.channel_spatial.ca import Attention
from tests.attention.case import randomise

OPTIONS: list[dict[str, Any]] = [
    {},
    {"reduction": 2},
    {"min_width": 4},
    {"activation": "relu6"},
    {"activation": "relu"},
    {"direction": "h"},
    {"direction": "w"},
]


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """3mC + 3m + 2C with m = max(8, C / r); one direction less saves mC + C."""
    c = facts["channels"]
    m = max(options.get("min_width", 8), c // options.get("reduction", 32))
    return 3 * m * c + 3 * m + 2 * c - (options.get("direction", "both") != "both") * (m * c + c)


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """CoordAtt(inp, oup, reduction): conv1, bn1, conv_h, conv_w (conv2, conv3 in the networks' file)."""
    m, c = params["conv1.weight"].shape[:2]
    names = {"conv_h": "gates.h", "conv_w": "gates.w", "conv2": "gates.h", "conv3": "gates.w"}
    state = {}
    for name, value in params.items():
        layer, leaf = name.split(".")
        state[f"{names.get(layer, layer)}.{leaf}"] = value
    return Attention(c, reduction=c, min_width=m), state


def gate(module: Attention, shape: tuple[int, ...]) -> Tensor:
    """The gate itself, by y / x."""
    x = torch.rand(shape, dtype=torch.float64) + 0.5
    with torch.no_grad():
        return module(x) / x


def test_gate_is_of_rank_one() -> None:
    """For each channel the gate is a column times a row (claim ca-rank-one)."""
    module = randomise(Attention(8).double()).eval()
    values = torch.linalg.svdvals(gate(module, (2, 8, 6, 5)))
    assert (values[..., 0] > 0.1).all()
    assert (values[..., 1:] < 1e-12).all()


@pytest.mark.parametrize(("direction", "axis"), [("h", 3), ("w", 2)])
def test_one_direction_is_constant_along_the_other(direction: str, axis: int) -> None:
    """The gate of the rows does not change along a row, that of the columns not along a column."""
    g = gate(randomise(Attention(8, direction=direction).double()).eval(), (2, 8, 6, 5))
    torch.testing.assert_close(g, g.mean(axis, keepdim=True).expand_as(g))
    assert g.std(5 - axis).min() > 0


def test_hand_computed_rows() -> None:
    """One channel, all weights 1 and biases 0, norm of weight 1: a_h = sigmoid(hswish(row mean))."""
    module = Attention(1, min_width=1).double().eval()
    with torch.no_grad():
        for conv in (module.conv1, *module.gates.values()):
            conv.weight.fill_(1)
        module.bn1.weight.fill_((1 + 1e-5) ** 0.5)  # undoes the epsilon of the norm
    x = torch.tensor([[1.0, 3.0], [-4.0, 0.0]], dtype=torch.float64).view(1, 1, 2, 2)
    rows, columns = torch.tensor([2.0, -2.0]).double(), torch.tensor([-1.5, 1.5]).double()
    a_h, a_w = (torch.sigmoid(t * (t + 3).clamp(0, 6) / 6) for t in (rows, columns))
    torch.testing.assert_close(module(x), x * a_h[:, None] * a_w)


def test_statistics_run_over_rows_and_columns() -> None:
    """The norm's running mean is that over H + W positions, not over H * W."""
    module = Attention(1, min_width=1).double()
    with torch.no_grad():
        module.conv1.weight.fill_(1)
    x = torch.randn(1, 1, 6, 2, dtype=torch.float64)
    module(x)
    strips = torch.cat([x.mean(3).flatten(), x.mean(2).flatten()])
    torch.testing.assert_close(module.bn1.running_mean, 0.1 * strips.mean().view(1))


def test_width_and_initialisation() -> None:
    """m = max(8, C / r); biases 0, weights of variance 2 / out, so the gate starts near a quarter."""
    torch.manual_seed(0)
    assert Attention(64).conv1.out_channels == 8
    module = Attention(512).double()
    assert module.conv1.out_channels == 16
    assert not any(p.any() for n, p in module.named_parameters() if n.endswith("bias"))
    assert module.gates["h"].weight.std().item() == pytest.approx((2 / 512) ** 0.5, rel=0.05)
    assert gate(module.eval(), (1, 512, 4, 4)).mean().item() == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize("options", [{"activation": "tanh"}, {"direction": "d"}, {"reduction": 0}, {"min_width": 0}])
def test_refusals(options: dict[str, Any]) -> None:
    """Options that make no block are refused with a sentence."""
    with pytest.raises(ValueError, match=r"h_swish|at least 1"):
        Attention(16, **options)
