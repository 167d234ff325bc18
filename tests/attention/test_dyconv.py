"""Own facts of dynamic convolution."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attncli.attention.branch.dyconv import Attention
from tests.attention.case import randomise
from tests.attention.test_condconv import single

OPTIONS: list[dict[str, Any]] = [
    {},
    {"num_kernels": 2},
    {"reduction": 0.5},
    {"hidden": 6},
    {"tau_start": 10.0},
    {"tau_end": 2.0},
    {"tau_anneal_epochs": 0},
    {"kernel": 5},
    {"dilation": 2},
    {"bias": True},
]
FACTS = [
    {},
    {"channels_in": 16, "channels": 24, "stride": 2, "groups": 4},
    {"channels_in": 3, "channels": 8, "size": (4, 4)},
]


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """K k^2 C_in C / g (+ K C) + C_in h + h K + K."""
    c, c_in, k = facts["channels"], facts["channels_in"], options.get("num_kernels", 4)
    h = options.get("hidden") or (k if c_in == 3 else int(c_in * options.get("reduction", 0.25)) + 1)
    kernels = k * options.get("kernel", 3) ** 2 * c_in * c // facts["groups"]
    return kernels + (k * c if options.get("bias") else 0) + c_in * h + h * k + k


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """Dynamic_conv2d: weight, bias, attention.fc1, attention.fc2 (without bias in earlier versions)."""
    ctor = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "temperature": 34}
    ctor |= meta.get("ctor") or meta.get("args") or {}
    k, c, c_in, side, _ = params["weight"].shape
    module = Attention(
        c,
        c_in * ctor["groups"],
        single(ctor["stride"]),
        ctor["groups"],
        num_kernels=k,
        hidden=params["attention.fc1.weight"].shape[0],
        tau_start=ctor["temperature"],
        kernel=side,
        dilation=single(ctor["dilation"]),
        bias="bias" in params,
    )
    module.experts.padding = single(ctor["padding"])
    state = {
        "temperature": module.temperature,
        "experts.weight": params["weight"].flatten(2),
        "reduce.weight": params["attention.fc1.weight"].flatten(1),
        "expand.weight": params["attention.fc2.weight"].flatten(1),
        "expand.bias": params.get("attention.fc2.bias", torch.zeros(k)),
    }
    return module, state | ({"experts.bias": params["bias"]} if "bias" in params else {})


def test_weights_are_positive_and_sum_to_one() -> None:
    """The attention over kernels is a distribution (claim dyconv-weights)."""
    p = randomise(Attention(8, 8, tau_start=1.0).double()).kernel_weights(torch.randn(5, 8, 4, 4, dtype=torch.float64))
    assert (p > 0).all()
    torch.testing.assert_close(p.sum(1), torch.ones(5, dtype=torch.float64))


def test_hand_computed_weights() -> None:
    """Logits 2 and 0 at tau = 2: the weights are e / (1 + e) and 1 / (1 + e)."""
    module = Attention(1, 1, num_kernels=2, hidden=1, tau_start=2.0).double()
    with torch.no_grad():
        module.reduce.weight.fill_(1.0)
        module.expand.weight.copy_(torch.tensor([[1.0], [0.0]]))
    p = module.kernel_weights(torch.full((1, 1, 3, 3), 2.0, dtype=torch.float64))
    expected = torch.tensor([[1.0, 0.0]], dtype=torch.float64).softmax(1)
    torch.testing.assert_close(p, expected)


def test_high_temperature_is_the_mean_kernel() -> None:
    """At tau = 1e9 the layer is a static convolution with the mean of its kernels (claim dyconv-uniform)."""
    module = randomise(Attention(6, 4, tau_start=1e9).double())
    x = torch.randn(3, 4, 9, 9, dtype=torch.float64)
    expected = F.conv2d(x, module.experts.kernels().mean(0), padding=1)
    torch.testing.assert_close(module(x), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("stride", "groups", "kernel"), [(1, 1, 3), (2, 1, 3), (2, 4, 5), (1, 8, 1)])
def test_shape_is_that_of_the_static_convolution(stride: int, groups: int, kernel: int) -> None:
    """Depth and width stay, for all strides, kernels and groups (claim dyconv-depth-width)."""
    static = nn.Conv2d(8, 16, kernel, stride, kernel // 2, groups=groups)
    x = torch.randn(2, 8, 11, 6)
    assert Attention(16, 8, stride, groups, kernel=kernel)(x).shape == static(x).shape


def test_temperature_falls_linearly_and_is_kept_in_the_state() -> None:
    """30 at epoch 0, 15.5 at 5, 1 from 10 on; a checkpoint restores it."""
    module = Attention(4, 4)
    seen = []
    for epoch in (0, 5, 10, 90):
        module.anneal(epoch)
        seen.append(module.temperature.item())
    assert seen == [30, 15.5, 1, 1]
    other = Attention(4, 4)
    other.load_state_dict(module.state_dict())
    assert other.temperature.item() == 1


def test_lower_temperature_sharpens() -> None:
    """Annealing changes the function: the largest weight grows."""
    module = randomise(Attention(8, 8).double())
    x = torch.randn(4, 8, 5, 5, dtype=torch.float64)
    early = module.kernel_weights(x).max(1).values
    module.anneal(10)
    assert (module.kernel_weights(x).max(1).values > early).all()


def test_parameters_of_the_card() -> None:
    """All convolutions of ResNet-18's blocks, K = 4: 33,246,976 more parameters."""
    widths = [(64, 64)] * 4 + [(64, 128)] + [(128, 128)] * 3 + [(128, 256)] + [(256, 256)] * 3
    widths += [(256, 512)] + [(512, 512)] * 3
    with torch.device("meta"):
        new = sum(p.numel() for i, o in widths for p in Attention(o, i).parameters())
    assert new - sum(9 * i * o for i, o in widths) == 33_246_976


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"hidden": 0}, "hidden"),
        ({"tau_end": 0.0}, "tau"),
        ({"num_kernels": 0}, "kernels"),
        ({"kernel": 2}, "odd"),
        ({"groups": 3}, "groups"),
    ],
)
def test_refusals(options: dict[str, Any], word: str) -> None:
    """What does not fit is refused in words that name it."""
    with pytest.raises(ValueError, match=word):
        Attention(8, 8, **options)
