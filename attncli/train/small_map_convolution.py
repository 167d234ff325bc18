"""Faster convolutions of small maps on CPUs, with the same result to rounding.

A network made for larger images ends in maps of a few pixels on small ones: resnet18 has maps of 1 x 1 in its last
stage at 8 px. There most taps of a kernel only meet padding, and oneDNN spends most of its time on rearranging the
kernel, at every step. So the taps that meet only padding are left out. If the maps are small for the width of the
kernel, the convolution and its gradients are computed as matrix products (im2col), which take the kernel as it lies in
memory. What is small depends on the number format and the CPU's instructions.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from attncli.attention.safe_convolution import SafeConv2d, convolve_safely
from attncli.train.precision import CpuKernels

# A rule: kernels of at least so many input times output channels are applied by matrix products to maps of at most so
# many output pixels per image; the first line that fits the kernel counts. `python -m tests.train.small_map_speeds`
# prints the times from which these rules come.
ProductRule = tuple[tuple[int, int], ...]
AVX2_FP32: ProductRule = ((256 * 512, 49), (0, 4))
AVX512_FP32: ProductRule = ((256 * 256, 16), (128 * 256, 4), (64 * 64, 1))
AMD_AVX512_FP32: ProductRule = ((512 * 512, 4), (64 * 64, 1))  # of a Zen 4, whose matrix products are slower
AVX512_BF16: ProductRule = ((256 * 256, 4), (64 * 128, 1))
AMX_BF16: ProductRule = ((256 * 512, 25), (128 * 256, 16), (64 * 128, 4), (64 * 64, 1))
PRODUCT_RULES: dict[CpuKernels, ProductRule] = {
    "avx2 fp32": AVX2_FP32,
    "avx512 fp32": AVX512_FP32,
    "amd avx512 fp32": AMD_AVX512_FP32,
    "avx512 bf16": AVX512_BF16,
    "amx bf16": AMX_BF16,
}


def has_croppable_kernel(convolution: nn.Conv2d) -> bool:
    """Return whether it has a kernel of several taps, padded with zeros in pixels, one group and no dilation."""
    return (
        max(convolution.kernel_size) > 1
        and convolution.padding_mode == "zeros"
        and not isinstance(convolution.padding, str)
        and convolution.groups == 1
        and tuple(convolution.dilation) == (1, 1)
    )


def convolve_small_maps(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, int],
    padding: tuple[int, int],
    rule: ProductRule = AVX2_FP32,
) -> Tensor:
    """Return `conv2d(x, weight, bias, stride, padding)` of maps (N, C, H, W), the faster way if they are small.

    Args:
        x: maps (N, C, H, W).
        weight: kernels (D, C, h, w).
        bias: one number per output channel (D,), or None.
        stride: steps along H and W, in pixels.
        padding: zeros at each side of H and W, in pixels.
        rule: when to compute by matrix products.

    Returns:
        Maps (N, D, H', W'), in the number format of autocast if that is on.
    """
    rows = find_used_taps(x.shape[2], weight.shape[2], stride[0], padding[0])
    columns = find_used_taps(x.shape[3], weight.shape[3], stride[1], padding[1])
    if len(rows) < weight.shape[2] or len(columns) < weight.shape[3]:
        weight = _CroppedKernel.apply(weight, rows, columns)
        padding = padding[0] - rows.start, padding[1] - columns.start
    output_pixels = 1
    for axis in (0, 1):
        output_pixels *= (x.shape[axis + 2] + 2 * padding[axis] - weight.shape[axis + 2]) // stride[axis] + 1
    width = weight.shape[0] * weight.shape[1]
    most_pixels = next((pixels for least_width, pixels in rule if width >= least_width), 0)
    if output_pixels > most_pixels:
        return convolve_safely(x, weight, bias, stride, padding)
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
        x, weight, bias = x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
    y: Tensor = _ColumnProducts.apply(x, weight, stride, padding)
    return y if bias is None else y + bias[:, None, None]


def find_used_taps(pixels: int, taps: int, stride: int, padding: int) -> range:
    """Return the taps of a kernel that meet a pixel along one axis, or all if the others cannot be left out.

    Args:
        pixels: length of the map along the axis.
        taps: length of the kernel along the axis.
        stride: step, in pixels.
        padding: zeros at each side.
    """
    positions = (pixels + 2 * padding - taps) // stride + 1
    first = max(0, padding - (positions - 1) * stride)
    used = range(first, min(taps, pixels + padding))
    # what is left of the padding is the same on both sides, so the number of positions must come out the same
    is_same = padding >= first and (pixels + 2 * (padding - first) - len(used)) // stride + 1 == positions
    return used if is_same and len(used) > 0 else range(taps)


def _as_pair(numbers: Any) -> tuple[int, int]:
    return int(numbers[0]), int(numbers[1])


class SmallMapConvolution(SafeConv2d):
    """A convolution with a croppable kernel that takes the faster way on small maps (N, C, H, W)."""

    product_rule: ProductRule

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        stride, padding = _as_pair(self.stride), _as_pair(self.padding)
        if x.ndim != 4 or x.dtype not in (torch.float32, torch.bfloat16):
            return super()._conv_forward(x, weight, bias)
        return convolve_small_maps(x, weight, bias, stride, padding, self.product_rule)


class _CroppedKernel(torch.autograd.Function):
    """The taps of a kernel in the given rows and columns; slices would make a whole gradient of zeros per axis."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, rows: range, columns: range) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.taps = slice(rows.start, rows.stop), slice(columns.start, columns.stop)
        return weight[:, :, *ctx.taps].contiguous(memory_format=torch.channels_last)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        whole = torch.zeros_like(ctx.saved_tensors[0])
        whole[:, :, *ctx.taps] = gradient
        return whole, None, None


class _ColumnProducts(torch.autograd.Function):
    """A convolution whose result and gradients are matrix products of the columns of its input (im2col)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(x, weight)  # the columns are made again: they take as many times more memory as taps
        ctx.stride, ctx.padding = stride, padding
        columns = gather_columns(x, weight.shape[2:], stride, padding)
        y = columns.flatten(3).flatten(0, 2) @ _flatten_kernel(weight).t()
        return y.unflatten(0, columns.shape[:3]).permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        rows = dy.permute(0, 2, 3, 1).flatten(0, 2)
        dx = dw = None
        if ctx.needs_input_grad[0]:
            column_gradients = (rows @ _flatten_kernel(weight)).unflatten(0, (len(dy), *dy.shape[2:]))
            column_gradients = column_gradients.unflatten(3, (*weight.shape[2:], weight.shape[1]))
            dx = add_up_columns(column_gradients, (x.shape[2], x.shape[3]), ctx.stride, ctx.padding)
        if ctx.needs_input_grad[1]:
            columns = gather_columns(x, weight.shape[2:], ctx.stride, ctx.padding)
            dw = (rows.t() @ columns.flatten(3).flatten(0, 2)).unflatten(1, columns.shape[3:]).permute(0, 3, 1, 2)
        return dx, dw, None, None


def _flatten_kernel(weight: Tensor) -> Tensor:
    """Return kernels (D, C, h, w) as a matrix (D, h * w * C): a view if they lie in channels_last."""
    return weight.permute(0, 2, 3, 1).flatten(1)


def gather_columns(x: Tensor, kernel_size: Sequence[int], stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
    """Return the pixels under a kernel at each of its positions, (N, H', W', h, w, C), of maps (N, C, H, W).

    Args:
        x: maps (N, C, H, W).
        kernel_size: (h, w).
        stride: steps along H and W, in pixels.
        padding: zeros at each side of H and W, in pixels.
    """
    padded = F.pad(x, (padding[1], padding[1], padding[0], padding[0])) if any(padding) else x
    windows = padded.unfold(2, kernel_size[0], stride[0]).unfold(3, kernel_size[1], stride[1])
    return windows.permute(0, 2, 3, 4, 5, 1).contiguous()


def add_up_columns(columns: Tensor, size: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
    """Return maps (N, C, H, W) whose pixels are the sums of their copies in columns: `gather_columns` transposed.

    Sums are made in float32 at least.

    Args:
        columns: (N, H', W', h, w, C).
        size: (H, W), in pixels.
        stride: steps along H and W, in pixels.
        padding: zeros at each side of H and W, in pixels.
    """
    images, height, width, kernel_height, kernel_width, channels = columns.shape
    dtype = torch.promote_types(columns.dtype, torch.float32)
    padded = columns.new_zeros(images, size[0] + 2 * padding[0], size[1] + 2 * padding[1], channels, dtype=dtype)
    for row in range(kernel_height):
        for column in range(kernel_width):
            bottom, right = row + (height - 1) * stride[0] + 1, column + (width - 1) * stride[1] + 1
            padded[:, row : bottom : stride[0], column : right : stride[1]] += columns[:, :, :, row, column]
    maps = padded[:, padding[0] : padding[0] + size[0], padding[1] : padding[1] + size[1]]
    return maps.to(columns.dtype).permute(0, 3, 1, 2)
