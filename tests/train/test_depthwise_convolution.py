"""Depth-wise convolutions with faster gradients: the numbers of torch, and which gradients are computed how."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attncli.model import InputSpec, build
from attncli.recipe import Recipe
from attncli.train import precision as precision_module
from attncli.train.cpu_convolutions import speed_up_convolutions
from attncli.train.depthwise_convolution import (
    AVX2_FP32,
    AVX512_BF16,
    AVX512_FP32,
    DepthwiseConvolution,
    GradientRule,
    choose_group_width,
    convolve_depthwise,
    is_depthwise,
    replaces_input_gradient,
)

RULES = (AVX2_FP32, AVX512_FP32, AVX512_BF16)
CASES = [
    (channels, size, kernel, stride, padding)
    for channels in (3, 8, 16)
    for size in ((7, 7), (8, 5), (13, 12))
    for kernel in ((3, 3), (5, 5), (1, 7), (7, 1), (4, 6))
    for stride in ((1, 1), (2, 2), (3, 1))
    for padding in ((0, 0), (kernel[0] // 2, kernel[1] // 2), (kernel[0] - 1, kernel[1] - 1))
    if all(side + 2 * p >= k for side, p, k in zip(size, padding, kernel, strict=True))
]


def list_results(convolve: Any, tensors: list[Tensor]) -> list[Tensor]:
    """The result of a convolution, and the gradients of map, kernels and bias."""
    leaves = [t.clone().requires_grad_() for t in tensors]
    y = convolve(*leaves)
    return [y.detach(), *torch.autograd.grad((y * y.detach().cos()).sum(), leaves)]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_results_and_gradients_are_those_of_torch(rule: GradientRule, layout: torch.memory_format) -> None:
    """In float64 they agree to 1e-12 for every kernel, stride and padding."""
    g = torch.Generator().manual_seed(0)
    for channels, size, kernel, stride, padding in CASES:
        shapes = ((2, channels, *size), (channels, 1, *kernel), (channels,))
        tensors = [torch.randn(shape, generator=g, dtype=torch.float64) for shape in shapes]
        tensors[0] = tensors[0].to(memory_format=layout)
        ours = list_results(lambda x, w, b, s=stride, p=padding: convolve_depthwise(x, w, b, s, p, rule), tensors)
        theirs = list_results(lambda x, w, b, s=stride, p=padding: F.conv2d(x, w, b, s, p, 1, len(w)), tensors)
        for our, their in zip(ours, theirs, strict=True):
            torch.testing.assert_close(our, their, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kernel", [(3, 3), (5, 5), (1, 7)])
@pytest.mark.parametrize("stride", [1, 2])
def test_bf16_is_as_near_to_float64_as_that_of_torch(kernel: tuple[int, int], stride: int) -> None:
    """Under autocast, from float32 maps and kernels; the gradients of the kernels come back in float32."""
    torch.manual_seed(0)
    conv = nn.Conv2d(32, 32, kernel, stride, (kernel[0] // 2, kernel[1] // 2), groups=32)
    for parameter in conv.parameters():
        parameter.data = parameter.data.bfloat16().float()
    x = torch.randn(8, 32, 14, 14).bfloat16().float().contiguous(memory_format=torch.channels_last)

    def differentiate(conv: nn.Conv2d, dtype: torch.dtype) -> list[Tensor]:
        conv.to(dtype).zero_grad()
        leaf = x.detach().clone().to(dtype).requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.float32):
            y = conv(leaf)
        y.backward(torch.ones_like(y))
        gradients = [leaf.grad, *(p.grad for p in conv.parameters())]
        return [y.detach(), *(t.clone() for t in gradients if t is not None)]

    exact, plain = differentiate(conv, torch.float64), differentiate(conv, torch.float32)
    fast_conv = DepthwiseConvolution(32, 32, kernel, stride, (kernel[0] // 2, kernel[1] // 2), groups=32)
    fast_conv.load_state_dict(conv.state_dict())
    fast_conv.gradient_rule = AVX512_BF16
    fast = differentiate(fast_conv, torch.float32)
    assert [t.dtype for t in fast] == [t.dtype for t in plain]
    for true, theirs, ours in zip(exact, plain, fast, strict=True):
        their_error, our_error = (float((t.double() - true).norm() / true.norm()) for t in (theirs, ours))
        assert our_error < 1.5 * their_error + 1e-6


@pytest.mark.parametrize(
    ("rule", "stride", "kernel", "for_input", "group_width"),
    [
        (AVX2_FP32, (1, 1), (5, 5), False, 8),
        (AVX512_FP32, (1, 1), (5, 5), True, 16),
        (AVX512_FP32, (1, 2), (5, 3), False, 1),
        (AVX512_BF16, (2, 2), (7, 1), True, 1),
        (AVX512_BF16, (2, 2), (1, 7), True, 16),
    ],
)
def test_which_gradients_are_computed_another_way(
    rule: GradientRule, stride: tuple[int, int], kernel: tuple[int, int], for_input: bool, group_width: int
) -> None:
    """The strides decide for the input, the columns of the kernel for the weight."""
    assert replaces_input_gradient(rule, stride) == for_input
    assert choose_group_width(torch.zeros(48, 1, *kernel), rule, kernel[0]) == group_width


@pytest.mark.parametrize(("channels", "columns", "group_width"), [(24, 5, 8), (6, 5, 2), (3, 5, 1), (24, 8, 1)])
def test_groups_divide_the_channels_and_meet_no_fault(channels: int, columns: int, group_width: int) -> None:
    """Kernels of 8 columns in groups of 8 channels are computed wrong by AMX in bf16."""
    weight = torch.zeros(channels, 1, columns, columns, dtype=torch.bfloat16)
    assert choose_group_width(weight, AVX512_BF16, columns) == group_width


@pytest.mark.parametrize(("rows", "group_width"), [(11, 1), (12, 1), (10, 16)])
def test_a_kernel_taller_than_the_map_is_slow_in_torch(rows: int, group_width: int) -> None:
    """Of one column and 11 rows: up to 30 times as slow on maps of 8 rows as in groups."""
    assert choose_group_width(torch.zeros(48, 1, 11, 1), AVX512_BF16, rows) == group_width


@pytest.mark.parametrize(
    ("conv", "expected"),
    [
        (nn.Conv2d(8, 8, 3, padding=1, groups=8), True),
        (nn.Conv2d(8, 8, (1, 5), 2, groups=8), True),
        (nn.Conv2d(8, 16, 3, groups=8), False),
        (nn.Conv2d(8, 8, 3, groups=4), False),
        (nn.Conv2d(8, 8, 1, groups=8), False),
        (nn.Conv2d(8, 8, 3, dilation=2, groups=8), False),
        (nn.Conv2d(8, 8, 3, padding=3, groups=8), False),
        (nn.Conv2d(8, 8, 3, padding="same", groups=8), False),
        (nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect", groups=8), False),
        (nn.Conv2d(1, 1, 3), False),
    ],
)
def test_which_convolutions_are_depthwise(conv: nn.Conv2d, expected: bool) -> None:
    """One kernel of several taps per channel, with less padding than taps."""
    assert is_depthwise(conv) == expected


@pytest.mark.parametrize(
    ("capability", "bf16", "device", "precision", "rule"),
    [
        ("AVX2", False, "cpu", "fp32", AVX2_FP32),
        ("AVX2", False, "cpu", "bf16", None),  # emulated
        ("AVX512", True, "cpu", "fp32", AVX512_FP32),
        ("AVX512", False, "cpu", "bf16", None),
        ("AVX512", True, "cpu", "bf16", AVX512_BF16),
        ("AVX512", True, "meta", "bf16", None),
    ],
)
def test_the_rule_follows_from_instructions_and_format(
    capability: str,
    bf16: bool,
    device: str,
    precision: str,
    rule: GradientRule | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Depth-wise convolutions of a network get it, others do not."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(precision_module, "has_native_bf16", lambda _: bf16)
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, groups=8))
    speed_up_convolutions(net, torch.device(device), precision)
    assert [getattr(module, "gradient_rule", None) for module in net] == [None, rule]


def test_strided_convolutions_to_one_column_stay_with_the_safe_way() -> None:
    """Torch's kernels get them wrong."""
    for kernel, stride, size, is_near in ((3, 2, 3, True), (3, 2, 5, False), (3, 1, 1, False)):
        conv = DepthwiseConvolution(8, 8, kernel, stride, kernel // 2 if stride == 1 else 0, groups=8)
        assert conv._has_one_strided_column(torch.zeros(1, 8, size, size)) == is_near


def test_wide_kernels_of_few_channels_are_computed_in_float32() -> None:
    """In bf16 torch never finishes them; the same rounded numbers are multiplied, and the result is rounded again."""
    torch.manual_seed(0)
    conv = DepthwiseConvolution(8, 8, (1, 15), padding=(0, 7), groups=8)
    conv.gradient_rule = AVX512_BF16
    x = torch.randn(2, 8, 4, 16).bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = conv(x)
    y.sum().backward()
    weight, bias = (p.detach().bfloat16().double() for p in conv.parameters())
    exact = F.conv2d(x.detach().double(), weight, bias, padding=(0, 7), groups=8)
    assert (y.dtype, x.grad.dtype) == (torch.bfloat16, torch.bfloat16)
    torch.testing.assert_close(y.double(), exact, rtol=2**-8, atol=1e-6)


@pytest.mark.parametrize("compiling", [False, True])
def test_compiled_code_has_the_gradients_of_torch(compiling: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inductor of torch 2.14 cannot compile the others."""
    conv = nn.Conv2d(8, 8, 5, padding=2, groups=8)
    speed_up_convolutions(conv, torch.device("cpu"), "fp32")
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: compiling)
    y = conv(torch.zeros(1, 8, 6, 6))
    assert (type(y.grad_fn).__name__ == "ConvolutionBackward0") == compiling


@pytest.mark.parametrize("attn", ["none", "cpca", "lka"])
def test_a_network_gets_the_gradients_of_torch(attn: str) -> None:
    """Those of mobilenet_v2 on images of 32 px, whose last maps have one pixel."""
    gradients = []
    for precision in ("no rule", "fp32"):
        torch.manual_seed(0)
        x = torch.randn(4, 3, 32, 32).to(memory_format=torch.channels_last)
        net = build(
            Recipe.model_validate({"model": {"backbone": "mobilenet_v2", "attn": attn}}), InputSpec(10, (32, 32))
        )
        net.eval()  # dropout would draw, and norms of a few numbers would magnify rounding
        speed_up_convolutions(net, torch.device("cpu"), precision)
        net(x).square().sum().backward()
        gradients.append([p.grad.clone() for p in net.parameters() if p.grad is not None])
    assert len(gradients[0]) == len(gradients[1])
    for theirs, ours in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3 * float(theirs.abs().max()))
