"""Own facts of channel prior convolutional attention."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from attncli.attention.channel_spatial.cpca import Attention
from tests.attention.case import randomise

OPTIONS: list[dict[str, Any]] = [{}, {"reduction": 16}, {"strips": (3, 5)}]


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """C^2 + C, 2 C h + h + C, 26 C for 5x5 and 2 (k + 1) C a strip."""
    c = facts["channels"]
    h = max(c // options.get("reduction", 4), 1)
    return c * c + c + 2 * c * h + h + c + c * (26 + sum(2 * (k + 1) for k in options.get("strips", (7, 11, 21))))


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """RepBlock(in_channels, out_channels, channelAttention_reduce): ca.fc1, ca.fc2, dconv*, conv."""
    ctor = meta["ctor"]
    names = {"ca.fc1": "mlp.0", "ca.fc2": "mlp.2", "conv": "point", "dconv5_5": "square"}
    for i, k in enumerate((7, 11, 21)):
        names |= {f"dconv1_{k}": f"strips.{i}.0", f"dconv{k}_1": f"strips.{i}.1"}
    state = {}
    for name, value in params.items():
        layer, _, leaf = name.rpartition(".")
        state[f"{names[layer]}.{leaf}"] = value.flatten(1) if layer.startswith("ca") and value.ndim == 4 else value
    return Attention(ctor["in_channels"], reduction=ctor["channelAttention_reduce"]), state


def test_channel_gate_is_a_sum_of_two() -> None:
    """Between 0 and 2, and 1 where the logits are 0 (claim cpca-gate)."""
    module = randomise(Attention(8).double())
    c = module.compute_channel_gate(torch.randn(3, 8, 5, 5, dtype=torch.float64))
    assert 0 < c.min() < c.max() < 2
    for leaf in ("weight", "bias"):
        nn.init.zeros_(module.mlp[2].get_parameter(leaf))
    assert (module.compute_channel_gate(torch.randn(1, 8, 2, 2, dtype=torch.float64)) == 1).all()


def test_one_convolution_is_used_three_times() -> None:
    """There is a single C x C matrix, and with it zero nothing passes (claim cpca-shared)."""
    module = randomise(Attention(8).double())
    assert [tuple(p.shape) for p in module.parameters() if p.shape[:2] == (8, 8)] == [(8, 8, 1, 1)]
    nn.init.zeros_(module.point.weight)
    nn.init.zeros_(module.point.bias)
    assert not module(torch.randn(1, 8, 4, 4, dtype=torch.float64)).any()


def test_window() -> None:
    """The factor of a position sees 25 x 25: 5 and a strip of 21 (claim cpca-window)."""
    module = randomise(Attention(2).double())
    x = torch.randn(1, 2, 29, 29, dtype=torch.float64, requires_grad=True)
    module.compute_map(x)[0, :, 14, 14].sum().backward()
    assert (x.grad[0].abs().sum(0).nonzero() - 14).abs().max() == 12


@pytest.mark.parametrize("options", [{"reduction": 0}, {"strips": (4,)}])
def test_refusals(options: dict[str, Any]) -> None:
    """A hidden width, and strips with a middle."""
    with pytest.raises(ValueError, match=next(iter(options))):
        Attention(8, **options)
