"""Own facts of ECA."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from attncli.attention.channel.eca import Attention, choose_hidden_width, choose_kernel_size

OPTIONS: list[dict[str, Any]] = [
    {},
    {"k": 5},
    {"k": (7, 3)},
    {"gamma": 1.0},
    {"b": 3.0},
    {"circular": True},
    {"mlp": True},
]


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """k per site; 2h + kh + 1 with a hidden layer."""
    if options.get("mlp"):
        k = parameters(facts, {key: value for key, value in options.items() if key != "mlp"})
        return (2 + k) * choose_hidden_width(facts["channels"]) + 1
    k = options.get("k")
    if isinstance(k, tuple):
        return k[facts["stage"] - 1]
    t = math.floor(abs((math.log2(facts["channels"]) + options.get("b", 1)) / options.get("gamma", 2)))
    return k or (t if t % 2 else t + 1)


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """eca_layer(channel, k_size): the names agree."""
    return Attention(meta["ctor"]["channel"], k=params["conv.weight"].shape[-1]), params


def test_kernel_sizes_of_the_card() -> None:
    """C 16, 32, 64 -> 3; 128 to 1024 -> 5; 2048 -> 7."""
    widths = (16, 32, 64, 128, 256, 512, 1024, 2048)
    assert [choose_kernel_size(c) for c in widths] == [3, 3, 3, 5, 5, 5, 5, 7]


def test_hidden_layer_works_on_each_channel_and_its_neighbours() -> None:
    """Widths are rounded as timm rounds them; with one unit of weight 1 the gate is the kernel over relu(z)."""
    assert [choose_hidden_width(c) for c in (16, 64, 96, 104, 256, 2048)] == [8, 8, 16, 16, 32, 256]
    module = Attention(3, k=3, mlp=True).double()
    squeeze, expand = module.conv[0], module.conv[2]
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        squeeze.weight[0] = 1.0
        expand.weight[0, 0] = torch.tensor([1.0, 0.0, -1.0])
        expand.bias.fill_(0.5)
    x = torch.tensor([1.0, -2.0, 4.0], dtype=torch.float64).view(1, 3, 1, 1)
    expected = x * torch.sigmoid(torch.tensor([0.5, -2.5, 0.5], dtype=torch.float64)).view(1, 3, 1, 1)
    torch.testing.assert_close(module(x), expected)


def test_hand_computed_gate() -> None:
    """Three channels with means 1, 2, 4 and kernel (1, 0, -1): the gate is sigmoid of left minus right."""
    module = Attention(3, k=3).double()
    with torch.no_grad():
        module.conv.weight.copy_(torch.tensor([[[1.0, 0.0, -1.0]]]))
    x = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    expected = x * torch.sigmoid(torch.tensor([-2.0, -3.0, 2.0], dtype=torch.float64)).view(1, 3, 1, 1)
    torch.testing.assert_close(module(x), expected)


def test_gate_is_local() -> None:
    """The gate of a channel depends on the means of its k nearest channels only (claim eca-local)."""
    module = Attention(8, k=3).double()
    x = torch.randn(1, 8, 4, 4, dtype=torch.float64, requires_grad=True)
    (module(x)[0, 3] / x.detach()[0, 3]).sum().backward()
    touched = x.grad[0].abs().sum((1, 2)).nonzero().flatten().tolist()
    assert set(touched) <= {2, 3, 4}


def test_circular_kernel_joins_the_ends() -> None:
    """Rolling the channels of the input rolls those of the output; with zeros beyond the ends it does not."""
    x = torch.randn(1, 8, 3, 3, dtype=torch.float64)
    for circular in (True, False):
        module = Attention(8, k=3, circular=circular).double()
        assert torch.allclose(module(x.roll(1, 1)), module(x).roll(1, 1)) is circular


def test_even_kernel_is_refused() -> None:
    """An even kernel has no centre."""
    with pytest.raises(ValueError, match="odd"):
        Attention(8, k=4)
