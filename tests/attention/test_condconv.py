"""Own facts of CondConv, and of convolving with mixed kernels."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attncli.attention.branch.condconv import (
    Attention,
    Experts,
    choose_cheapest,
    convolve_each_sample,
    convolve_grouped,
    multiply_batched,
    sum_convolutions,
)
from tests.attention.case import randomise

OPTIONS: list[dict[str, Any]] = [
    {},
    {"num_experts": 3},
    {"routing": "softmax"},
    {"routing_dropout": 0.2},
    {"kernel": 5},
    {"dilation": 2},
    {"bias": True},
]
FACTS = [
    {},
    {"channels_in": 16, "channels": 24, "stride": 2, "groups": 4},
    {"channels_in": 16, "channels": 16, "groups": 16, "size": (6, 6)},
    {"channels_in": 16, "channels": 24, "size": (3, 3)},
    {"channels_in": 8, "channels": 64, "size": (4, 4)},
]


def parameters(facts: dict[str, Any], options: dict[str, Any]) -> int:
    """E k^2 C_in C / g (+ E C) + C_in E + E."""
    c, c_in, e = facts["channels"], facts["channels_in"], options.get("num_experts", 8)
    kernels = e * options.get("kernel", 3) ** 2 * c_in * c // facts["groups"]
    return kernels + (e * c if options.get("bias") else 0) + c_in * e + e


class SharedBias(nn.Module):
    """The compared repository's one bias for all experts, which is no option of ours."""

    def __init__(self, module: nn.Module, width: int) -> None:
        super().__init__()
        self.module, self.bias = module, nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """Add the bias after the convolution."""
        return self.module(x) + self.bias[:, None, None]


def official(meta: dict[str, Any], params: dict[str, Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    """CondConv2D: weight, bias shared by the experts, _routing_fn.fc."""
    ctor = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1} | (meta.get("ctor") or meta.get("args") or {})
    e, c, c_in, k, _ = params["weight"].shape
    module = Attention(
        c,
        c_in * ctor["groups"],
        single(ctor["stride"]),
        ctor["groups"],
        num_experts=e,
        kernel=k,
        dilation=single(ctor["dilation"]),
        routing_dropout=ctor.get("dropout_rate", 0.2),
    )
    module.experts.padding = padding = single(ctor["padding"])
    mode = ctor.get("padding_mode", "zeros")
    if mode != "zeros":  # the experts alone see the padding, the router does not
        module.experts.padding = 0
        module.experts.register_forward_pre_hook(lambda _, a: (F.pad(a[0], (padding,) * 4, mode), a[1]))
    names = {"_routing_fn.fc.weight": "router.weight", "_routing_fn.fc.bias": "router.bias"}
    state = {names[key]: value for key, value in params.items() if key in names}
    state["experts.weight"] = params["weight"].flatten(2)
    if "bias" not in params:
        return module, state
    return SharedBias(module, c), {**{f"module.{k}": v for k, v in state.items()}, "bias": params["bias"]}


def single(value: int | list[int]) -> int:
    """A number that the official constructor may hold as a pair of equal ones."""
    return value if isinstance(value, int) else value[0]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("way", [sum_convolutions, convolve_grouped, multiply_batched, convolve_each_sample])
@pytest.mark.parametrize(
    ("c", "c_in", "stride", "groups", "kernel", "dilation"),
    [(6, 4, 1, 1, 3, 1), (8, 8, 2, 8, 3, 1), (8, 4, 2, 4, 5, 1), (6, 9, 1, 3, 3, 2), (5, 3, 2, 1, 1, 1)],
)
def test_mixing_kernels_equals_mixing_outputs(
    c: int,
    c_in: int,
    stride: int,
    groups: int,
    kernel: int,
    dilation: int,
    way: Callable[[Experts, Tensor, Tensor], Tensor],
    layout: torch.memory_format,
) -> None:
    """Each of the four ways is sum_e a_e (W_e conv x), gradients too, for any stride, dilation and groups.

    Claims condconv-linear and condconv-any-conv.
    """
    experts = Experts(c, c_in, stride, groups, 3, kernel, dilation, bias=False).double()
    x = torch.randn(2, c_in, 7, 6, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()
    a = torch.rand(2, 3, dtype=torch.float64, requires_grad=True)
    terms = [F.conv2d(x, w, None, stride, experts.padding, dilation, groups) for w in experts.view_kernels()]
    expected = sum(a[:, e, None, None, None] * term for e, term in enumerate(terms))
    got = way(experts, x, a)
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)
    assert got.is_contiguous(memory_format=layout)
    for ours, theirs in zip(
        *(torch.autograd.grad(y.pow(2).sum(), (x, a, experts.weight)) for y in (got, expected)), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_the_map_decides_the_way() -> None:
    """Few positions: E convolutions; few for the channels: columns; many, and channels_last: a convolution a sample."""

    def way(
        c: int, side: int, groups: int = 1, dtype: torch.dtype = torch.float32, layout: Any = torch.channels_last
    ) -> Callable[[Experts, Tensor, Tensor], Tensor]:
        x = torch.zeros(2, c, side, side, dtype=dtype).contiguous(memory_format=layout)
        return choose_cheapest(Experts(c, c, 1, groups, 4, 3, 1, bias=False), x)

    assert way(64, 4) is sum_convolutions
    assert way(256, 8, dtype=torch.bfloat16) is multiply_batched
    assert way(256, 8) is convolve_grouped
    assert way(256, 8, groups=256, dtype=torch.bfloat16) is convolve_grouped
    assert way(1024, 5) is multiply_batched
    assert way(32, 32) is convolve_each_sample
    assert way(32, 32, layout=torch.contiguous_format) is way(32, 32, groups=8) is way(16, 32) is convolve_grouped


def test_hand_computed_mixture() -> None:
    """1x1 kernels 2 and 5, weights 1/2 and 3/4 (logits 0, log 3), bias 4 and 8 mixed alike: y = 4.75 x + 8."""
    module = Attention(1, 1, num_experts=2, kernel=1, bias=True).double()
    with torch.no_grad():
        module.experts.weight.copy_(torch.tensor([2.0, 5.0]).view(2, 1, 1))
        module.experts.bias.copy_(torch.tensor([[4.0], [8.0]]))
        module.router.weight.zero_()
        module.router.bias.copy_(torch.tensor([1.0, 3.0]).log())
    x = torch.randn(3, 1, 4, 4, dtype=torch.float64)
    torch.testing.assert_close(module(x), 4.75 * x + 8, rtol=1e-6, atol=1e-6)


def test_softmax_routing_is_a_distribution() -> None:
    """With softmax and equal kernels the mixture is the kernel itself; with sigmoid it is not."""
    x = torch.randn(2, 4, 9, 9, dtype=torch.float64)
    for routing, equal in (("softmax", True), ("sigmoid", False)):
        module = randomise(Attention(4, 4, num_experts=3, routing=routing).double())
        module.experts.weight.data[:] = module.experts.weight.data[:1]
        assert torch.allclose(module(x), F.conv2d(x, module.experts.view_kernels()[0], padding=1)) == equal


def test_each_expert_is_drawn_with_the_fan_of_one_kernel() -> None:
    """The deviation of every expert is sqrt(2 / (9 C)), whatever E is."""
    weight = Attention(64, 64, num_experts=4).experts.weight
    torch.testing.assert_close(weight.flatten(1).std(1), torch.full((4,), (2 / (9 * 64)) ** 0.5), rtol=0.02, atol=0)


def test_parameters_of_the_card() -> None:
    """Added to ResNet-18: all blocks 32,970,048 (E=4) and 76,925,568 (E=8), last stage 24,779,792."""

    def added(widths: list[tuple[int, int]], e: int) -> int:
        with torch.device("meta"):
            new = sum(p.numel() for i, o in widths for p in Attention(o, i, num_experts=e).parameters())
        return new - sum(9 * i * o for i, o in widths)

    last = [(256, 512)] + [(512, 512)] * 3
    rest = [(64, 64)] * 4 + [(64, 128)] + [(128, 128)] * 3 + [(128, 256)] + [(256, 256)] * 3
    assert (added(rest + last, 4), added(rest + last, 8), added(last, 4)) == (32_970_048, 76_925_568, 24_779_792)


def test_routing_dropout_draws_in_training_only() -> None:
    """Two passes in training differ, two in evaluation do not."""
    module = Attention(4, 4, routing_dropout=0.5)
    x = torch.randn(8, 4, 9, 9)
    assert not torch.equal(module(x), module(x))
    module.eval()
    assert torch.equal(module(x), module(x))


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"num_experts": 0}, "kernels"),
        ({"kernel": 2}, "odd"),
        ({"groups": 3}, "groups"),
        ({"routing": "top"}, "routing"),
    ],
)
def test_refusals(options: dict[str, Any], word: str) -> None:
    """What does not fit is refused in words that name it."""
    with pytest.raises(ValueError, match=word):
        Attention(8, 8, **options)
