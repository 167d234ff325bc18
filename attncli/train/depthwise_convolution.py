"""Faster gradients of depth-wise convolutions on CPUs, with the same result to rounding.

The forward kernels of oneDNN are fast, its gradients often are not: in bf16 the weight's gradient of a 5 x 5 kernel
takes 10 to 25 times as long as the way here, and the input's gradient of a convolution with a stride about 10 times.
The input's gradient is a convolution too: that of the output's gradient, with zeros between its pixels if there is a
stride, and of the kernel turned by 180 degrees. The weight's gradient is the diagonal of that of a grouped convolution
with a few channels in each group: many times the arithmetic, in fast matrix products.
"""

from typing import Any, Literal, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from attncli.attention.safe_convolution import SafeConv2d, is_half_precision, is_wrong_in_half_precision
from attncli.train.precision import CpuKernels

# Columns of a kernel up to which torch's gradient of the weight is fast, unless the kernel is taller than the map.
NATIVE_WIDTH = 3


class GradientRule(NamedTuple):
    """Which gradients of a depth-wise convolution are computed the other way.

    `python -m tests.train.depthwise_speeds` prints the times from which the rules come.
    """

    input_gradient: Literal["never", "without stride", "always"]
    group_width: int  # channels per group for the weight's gradient, where torch's is slow


AVX2_FP32 = GradientRule("never", 8)
AVX512_FP32 = GradientRule("without stride", 16)
AVX512_BF16 = GradientRule("always", 16)
GRADIENT_RULES: dict[CpuKernels, GradientRule] = {
    "avx2 fp32": AVX2_FP32,
    "avx512 fp32": AVX512_FP32,
    "amd avx512 fp32": AVX512_FP32,
    "avx512 bf16": AVX512_BF16,
    "amx bf16": AVX512_BF16,
}


def is_depthwise(convolution: nn.Conv2d) -> bool:
    """Return whether it has one kernel of several taps per channel, padded with zeros in pixels, without dilation."""
    return (
        1 < convolution.groups == convolution.in_channels == convolution.out_channels
        and max(convolution.kernel_size) > 1
        and convolution.padding_mode == "zeros"
        and not isinstance(convolution.padding, str)
        and all(padding < side for padding, side in zip(convolution.padding, convolution.kernel_size, strict=True))
        and tuple(convolution.dilation) == (1, 1)
    )


class DepthwiseConvolution(SafeConv2d):
    """A depth-wise convolution of maps (N, C, H, W) that takes the faster gradients."""

    gradient_rule: GradientRule

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        is_fast = x.ndim == 4 and x.dtype in (torch.float32, torch.bfloat16) and not self._has_one_strided_column(x)
        if not is_fast or torch.compiler.is_compiling():  # inductor makes C++ of these gradients that is not valid
            return super()._conv_forward(x, weight, bias)
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
        x, weight, bias = x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
        if self._is_wrong_in_half_precision(x):  # in float32 the same rounded numbers are multiplied
            x, weight, bias = x.float(), weight.float(), None if bias is None else bias.float()
        with torch.autocast("cpu", enabled=False):
            return self._convolve(x, weight, bias).to(dtype)

    def _convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Convolve numbers of one format."""
        stride, padding = cast(tuple[int, int], self.stride), cast(tuple[int, int], self.padding)
        return convolve_depthwise(x, weight, bias, stride, padding, self.gradient_rule)

    def _has_one_strided_column(self, x: Tensor) -> bool:
        """Return whether torch's kernels get this convolution of x wrong in every format."""
        columns = (x.shape[3] + 2 * int(self.padding[1]) - self.kernel_size[1]) // self.stride[1] + 1
        return max(self.stride) > 1 and columns == 1

    def _is_wrong_in_half_precision(self, x: Tensor) -> bool:
        """Return whether torch's kernels get this convolution wrong, or never finish it, in the format of x."""
        return is_half_precision(x) and is_wrong_in_half_precision(self.weight, self.stride, (1, 1), self.groups)


def convolve_depthwise(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, int],
    padding: tuple[int, int],
    rule: GradientRule,
) -> Tensor:
    """Return the depth-wise convolution of the arguments, (N, C, H', W'), whose gradients follow the rule.

    Args:
        x: maps (N, C, H, W).
        weight: kernels (C, 1, h, w), in the number format of x.
        bias: one number per channel (C,), or None.
        stride: steps along H and W, in pixels.
        padding: zeros at each side of H and W, in pixels, less than h and w.
        rule: which gradients are not left to torch.
    """
    y: Tensor = _Convolution.apply(x, weight, bias, stride, padding, rule)
    return y


class _Convolution(torch.autograd.Function):
    """A depth-wise convolution; the gradients that its rule does not name are torch's."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: tuple[int, int],
        padding: tuple[int, int],
        rule: GradientRule,
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding, ctx.rule = stride, padding, rule
        return F.conv2d(x, weight, bias, stride, padding, 1, len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None, None]:
        x, weight = ctx.saved_tensors
        for_x, for_weight, for_bias = ctx.needs_input_grad[:3]
        by_forward_kernel = for_x and replaces_input_gradient(ctx.rule, ctx.stride)
        width = choose_group_width(weight, ctx.rule, x.shape[2])
        by_groups = for_weight and width > 1
        torch_mask = [for_x and not by_forward_kernel, for_weight and not by_groups, False]
        dx = dw = None
        if any(torch_mask):
            dx, dw, _ = _differentiate(dy, x, weight, ctx.stride, ctx.padding, len(weight), torch_mask)
        if by_forward_kernel:
            dx = compute_input_gradient(dy, weight, x.shape, ctx.stride, ctx.padding)
        if by_groups:
            dw = compute_weight_gradient(dy, x, weight, ctx.stride, ctx.padding, width)
        return dx, dw, dy.sum((0, 2, 3)) if for_bias else None, None, None, None


def replaces_input_gradient(rule: GradientRule, stride: tuple[int, int]) -> bool:
    """Return whether the input's gradient is not left to torch."""
    return rule.input_gradient == "always" or (rule.input_gradient == "without stride" and max(stride) == 1)


def choose_group_width(weight: Tensor, rule: GradientRule, rows: int) -> int:
    """Return with how many channels per group the gradient of weight, (C, 1, h, w), is computed; 1 is torch's way.

    The convolution is one of maps of so many rows.
    """
    channels, _, height, columns = weight.shape
    if columns <= NATIVE_WIDTH and height <= rows:
        return 1
    width = rule.group_width
    while channels % width:
        width //= 2
    kernels = weight.expand(channels, width, height, columns)
    is_wrong = is_half_precision(weight) and is_wrong_in_half_precision(kernels, (1, 1), (1, 1), channels // width)
    return 1 if is_wrong else width


def compute_input_gradient(
    dy: Tensor, weight: Tensor, shape: torch.Size, stride: tuple[int, int], padding: tuple[int, int]
) -> Tensor:
    """Return the gradient of the input of a depth-wise convolution as a convolution of that of its output.

    Args:
        dy: gradient of the output, (N, C, H', W').
        weight: kernels (C, 1, h, w).
        shape: (N, C, H, W) of the input.
        stride: steps along H and W, in pixels.
        padding: zeros at each side of H and W, in pixels, less than h and w.

    Returns:
        The gradient, (N, C, H, W), in channels_last.
    """
    height, width = weight.shape[2:]
    if max(stride) > 1:
        sides = (shape[2] + 2 * padding[0] - height + 1, shape[3] + 2 * padding[1] - width + 1)
        spread = dy.new_zeros(shape[0], *sides, shape[1]).permute(0, 3, 1, 2)
        spread[:, :, :: stride[0], :: stride[1]] = dy
        dy = spread
    outer_padding = (height - 1 - padding[0], width - 1 - padding[1])
    dy = dy.contiguous(memory_format=torch.channels_last)
    return F.conv2d(dy, weight.flip(2, 3), None, 1, outer_padding, 1, len(weight))


def compute_weight_gradient(
    dy: Tensor, x: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int], group_width: int
) -> Tensor:
    """Return the gradient of the kernels of a depth-wise convolution, computed with several channels per group.

    Args:
        dy: gradient of the output, (N, C, H', W').
        x: input, (N, C, H, W).
        weight: kernels (C, 1, h, w).
        stride: steps along H and W, in pixels.
        padding: zeros at each side of H and W, in pixels.
        group_width: channels per group; it divides C.

    Returns:
        The gradient, (C, 1, h, w).
    """
    groups = len(weight) // group_width
    kernels = weight.new_empty(len(weight), group_width, *weight.shape[2:])  # only its shape counts
    mask = [False, True, False]
    gradient = cast(Tensor, _differentiate(dy, x, kernels, stride, padding, groups, mask)[1])
    blocks = gradient.unflatten(0, (groups, group_width))  # (groups, width, width, h, w)
    return blocks.diagonal(dim1=1, dim2=2).movedim(-1, 1).reshape(weight.shape)


def _differentiate(
    dy: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: tuple[int, int],
    padding: tuple[int, int],
    groups: int,
    mask: list[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Return torch's gradients of x, weight and bias, where `mask` asks for them."""
    gradients: tuple[Tensor | None, Tensor | None, Tensor | None] = torch.ops.aten.convolution_backward(
        dy, x, weight, None, stride, padding, (1, 1), False, (0, 0), groups, mask
    )
    return gradients
