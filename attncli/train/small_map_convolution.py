"""Faster convolutions of small maps on CPUs, with the same result to rounding.

A network made for larger images ends in maps of a few pixels on small ones: resnet18 has maps of 1 x 1 in its last
stage at 8 px. There most taps of a kernel only meet padding, and without AVX-512 oneDNN computes the gradient of the
kernel on a slow path. So the taps that meet only padding are left out, and the gradient of the others is computed as
one matrix product per tap. Wide kernels gain from that on larger maps too, as oneDNN rearranges them at every step.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

MAX_OUTPUT_PIXELS = 4  # per image, in maps whose kernel gradient is computed by matrix products
# Of wide kernels, by input times output channels. Time of a convolution with its gradients against oneDNN's (one thread
# of an AMD EPYC Zen 3, torch 2.14.1, channels_last): 512 channels at 3, 4 and 7 px 0.68, 0.68, 0.82; 256 to 512
# channels at 4 px 0.80; 256 at 4 px 0.92, but slower for a batch of 8; 128 at 4 px 1.00; 64 at 4 px 1.24.
WIDE_KERNEL, MAX_WIDE_OUTPUT_PIXELS = 256 * 512, 49


def speed_up_small_maps(model: nn.Module, device: torch.device, precision: str) -> None:
    """Let the convolutions of a network take the faster way on small maps, in float32 on a CPU without AVX-512.

    Nothing changes elsewhere. Plain `nn.Conv2d` modules change their class in place, not their weights.
    """
    if device.type != "cpu" or precision != "fp32" or "AVX512" in torch.backends.cpu.get_cpu_capability():
        return
    for module in model.modules():
        if type(module) is nn.Conv2d and has_croppable_kernel(module):
            module.__class__ = SmallMapConvolution


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
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, int], padding: tuple[int, int]
) -> Tensor:
    """Return `conv2d(x, weight, bias, stride, padding)` of maps (N, C, H, W), the faster way if they are small.

    Args:
        x: maps (N, C, H, W).
        weight: kernels (D, C, h, w).
        bias: one number per output channel (D,), or None.
        stride: steps along H and W, in pixels.
        padding: zeros at each side of H and W, in pixels.

    Returns:
        Maps (N, D, H', W').
    """
    rows = find_used_taps(x.shape[2], weight.shape[2], stride[0], padding[0])
    columns = find_used_taps(x.shape[3], weight.shape[3], stride[1], padding[1])
    if len(rows) < weight.shape[2] or len(columns) < weight.shape[3]:
        weight = weight[:, :, rows.start : rows.stop, columns.start : columns.stop]
        padding = padding[0] - rows.start, padding[1] - columns.start
    output_pixels = 1
    for axis in (0, 1):
        output_pixels *= (x.shape[axis + 2] + 2 * padding[axis] - weight.shape[axis + 2]) // stride[axis] + 1
    is_wide = weight.shape[0] * weight.shape[1] >= WIDE_KERNEL
    most_pixels = MAX_WIDE_OUTPUT_PIXELS if is_wide else MAX_OUTPUT_PIXELS
    if output_pixels > most_pixels or weight.shape[2:].numel() == 1 or not weight.requires_grad:
        return F.conv2d(x, weight, bias, stride, padding)
    y: Tensor = _TapwiseGradient.apply(x, weight, stride, padding)
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


class SmallMapConvolution(nn.Conv2d):
    """A convolution with a croppable kernel that takes the faster way on small maps (N, C, H, W) of float32."""

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        stride, padding = _as_pair(self.stride), _as_pair(self.padding)
        if x.ndim != 4 or x.dtype != torch.float32 or torch.is_autocast_enabled("cpu"):
            return F.conv2d(x, weight, bias, stride, padding)
        return convolve_small_maps(x, weight, bias, stride, padding)


class _TapwiseGradient(torch.autograd.Function):
    """A convolution whose gradient of the kernel is one matrix product per tap."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x, weight, None, stride, padding)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        dx = dw = None
        if ctx.needs_input_grad[0]:
            dx = torch.ops.aten.convolution_backward(
                dy, x, weight, None, ctx.stride, ctx.padding, (1, 1), False, (0, 0), 1, (True, False, False)
            )[0]
        if ctx.needs_input_grad[1]:
            dw = compute_kernel_gradient(x, dy, (weight.shape[2], weight.shape[3]), ctx.stride, ctx.padding)
        return dx, dw, None, None


def compute_kernel_gradient(
    x: Tensor, dy: Tensor, kernel_size: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]
) -> Tensor:
    """Return the gradient (D, C, h, w) of the kernels, in channels_last, one matrix product per tap.

    Args:
        x: maps (N, C, H, W) that were convolved.
        dy: gradient (N, D, H', W') of the result.
        kernel_size: (h, w).
        stride: steps along H and W, in pixels.
        padding: zeros at each side of H and W, in pixels.
    """
    padded = F.pad(x, (padding[1], padding[1], padding[0], padding[0])).permute(0, 2, 3, 1)
    outputs = dy.permute(0, 2, 3, 1).reshape(-1, dy.shape[1]).t()
    gradient = x.new_empty(dy.shape[1], *kernel_size, x.shape[1])
    for row in range(kernel_size[0]):
        for column in range(kernel_size[1]):
            bottom, right = row + (dy.shape[2] - 1) * stride[0] + 1, column + (dy.shape[3] - 1) * stride[1] + 1
            inputs = padded[:, row : bottom : stride[0], column : right : stride[1]].reshape(-1, x.shape[1])
            gradient[:, row, column] = outputs @ inputs
    return gradient.permute(0, 3, 1, 2)
