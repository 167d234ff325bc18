"""Convolutions of small maps: the same numbers as torch's, and fewer taps."""

from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from attncli.model import InputSpec, build
from attncli.recipe import Recipe
from attncli.train import precision as precision_module
from attncli.train.cpu_convolutions import speed_up_convolutions
from attncli.train.small_map_convolution import (
    AMD_AVX512_FP32,
    AMX_BF16,
    AVX2_FP32,
    AVX512_BF16,
    AVX512_FP32,
    ProductRule,
    SmallMapConvolution,
    convolve_small_maps,
    find_used_taps,
)

CASES = [
    (height, width, taps, stride, padding)
    for height, width in ((1, 1), (2, 2), (1, 3), (4, 2), (3, 3), (5, 4))
    for taps in (1, 2, 3, 5, 7)
    for stride in (1, 2, 3)
    for padding in (0, taps // 2, taps - 1)
    if min(height, width) + 2 * padding >= taps
]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_results_and_gradients_are_those_of_torch(layout: torch.memory_format) -> None:
    """In float64 they agree to 1e-12 for every size of map and kernel, stride and padding."""
    g = torch.Generator().manual_seed(0)
    for height, width, taps, stride, padding in CASES:
        tensors = [torch.randn(2, 5, height, width, generator=g), torch.randn(4, 5, taps, taps, generator=g)]
        tensors = [t.double().to(memory_format=layout) for t in tensors] + [torch.randn(4, generator=g).double()]
        results = []
        for convolve in (partial(convolve_small_maps, rule=((0, 49),)), F.conv2d):
            x, weight, bias = (t.clone().requires_grad_() for t in tensors)
            y = convolve(x, weight, bias, (stride, stride), (padding, padding))
            results.append([y, *torch.autograd.grad((y * y.detach().cos()).sum(), (x, weight, bias))])
        for ours, theirs in zip(*results, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("pixels", "channels", "by_products"),
    [(2, 8, True), (3, 8, False), (3, 256, False), (7, 512, True), (8, 512, False)],
)
def test_which_maps_are_convolved_by_matrix_products(pixels: int, channels: int, by_products: bool) -> None:
    """By this rule those of four pixels, and those of wide kernels up to 7 x 7."""
    x, weight = torch.zeros(1, channels, pixels, pixels), torch.zeros(channels, channels, 3, 3, requires_grad=True)
    y = convolve_small_maps(x, weight, None, (1, 1), (1, 1), ((256 * 512, 49), (0, 4)))
    assert (type(y.grad_fn).__name__ == "_ColumnProductsBackward") == by_products


@pytest.mark.parametrize(
    ("pixels", "taps", "stride", "padding", "used"),
    [
        (1, 3, 1, 1, range(1, 2)),  # only the centre
        (2, 3, 1, 1, range(3)),
        (2, 3, 2, 1, range(1, 3)),
        (2, 7, 1, 3, range(2, 5)),
        (8, 3, 1, 1, range(3)),
        (2, 2, 1, 0, range(2)),
    ],
)
def test_taps_that_meet_only_padding_are_left_out(
    pixels: int, taps: int, stride: int, padding: int, used: range
) -> None:
    """The taps in use follow from the sizes."""
    assert find_used_taps(pixels, taps, stride, padding) == used


def test_bf16_sums_are_made_in_float32() -> None:
    """Result and gradients in bf16 are as near to those of float64 as torch's own; so is a bias."""
    g = torch.Generator().manual_seed(2)
    x, weight, bias = torch.randn(16, 64, 3, 3, generator=g), torch.randn(32, 64, 3, 3, generator=g), torch.randn(32)
    x, weight, bias = (t.bfloat16().float().requires_grad_() for t in (x, weight, bias))

    def list_results(convolve: Any, dtype: torch.dtype) -> list[Tensor]:
        tensors = [t.to(dtype).detach().requires_grad_() for t in (x, weight, bias)]
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.float32):
            y = convolve(*tensors, (1, 1), (1, 1))
        return [y.detach(), *torch.autograd.grad(y, tensors, torch.ones_like(y))]

    exact = list_results(F.conv2d, torch.float64)
    errors = [
        [float((ours.double() - true).norm() / true.norm()) for ours, true in zip(results, exact, strict=True)]
        for results in (list_results(convolve_small_maps, torch.float32), list_results(F.conv2d, torch.float32))
    ]
    assert all(ours < 1.5 * theirs + 1e-6 for ours, theirs in zip(*errors, strict=True)), errors
    assert list_results(convolve_small_maps, torch.float32)[0].dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("capability", "is_amd", "bf16", "amx", "device", "precision", "rule"),
    [
        ("AVX2", True, False, False, "cpu", "fp32", AVX2_FP32),
        ("AVX2", False, False, False, "cpu", "bf16", None),  # emulated
        ("AVX512", False, False, False, "cpu", "fp32", AVX512_FP32),
        ("AVX512", False, False, False, "cpu", "bf16", None),
        ("AVX512", True, True, False, "cpu", "bf16", AVX512_BF16),
        ("AVX512", True, True, False, "cpu", "fp32", AMD_AVX512_FP32),
        ("AVX512", False, True, True, "cpu", "bf16", AMX_BF16),
        ("AVX512", False, True, True, "cpu", "fp32", AVX512_FP32),
        ("AVX512", False, True, True, "meta", "bf16", None),
    ],
)
def test_the_rule_follows_from_instructions_and_format(
    capability: str,
    is_amd: bool,
    bf16: bool,
    amx: bool,
    device: str,
    precision: str,
    rule: ProductRule | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every convolution of a network gets it; without a rule the network stays as it is."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(precision_module.hardware, "is_amd_processor", lambda: is_amd)
    monkeypatch.setattr(precision_module, "has_native_bf16", lambda _: bf16)
    monkeypatch.setattr(precision_module, "has_amx_bf16", lambda: amx)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.Conv2d(8, 8, 3))
    speed_up_convolutions(net, torch.device(device), precision)
    assert [getattr(module, "product_rule", None) for module in net] == [rule, rule]


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("bf16", 0.03)])
def test_a_network_gets_the_gradients_of_torch(precision: str, tolerance: float) -> None:
    """Those of resnet18 on images of 8 px, whose last maps have one pixel."""
    gradients = []
    for rule in (None, ((0, 49),)):
        torch.manual_seed(0)
        x = torch.randn(3, 3, 8, 8)
        net = build(
            Recipe.model_validate({"model": {"backbone": "resnet18", "attn": "none"}}),
            InputSpec(classes=4, size=(8, 8), frames=None),
        )
        net.eval()  # batch norms of three images of one pixel would multiply rounding errors
        for module in net.modules():
            if rule and type(module) is torch.nn.Conv2d:
                module.__class__, module.product_rule = SmallMapConvolution, rule
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
            loss = net(x).float().square().sum()
        loss.backward()
        gradients.append([p.grad for p in net.parameters()])
    for theirs, ours in zip(*gradients, strict=True):
        assert (ours - theirs).norm() <= tolerance * theirs.norm() + 1e-7
