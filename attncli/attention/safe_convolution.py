"""Convolutions that the kernels of CPUs compute wrong, never finish, or write beyond memory: computed another way.

Found by `python -m tests.attention.random_convolutions --plain`, which compares results and gradients with float64,
with torch 2.14.1 (oneDNN 3.12) on a CPU with AMX, and on it with ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16 and AVX2.
Not kept away, as no network here has one: a transposed convolution of bf16 numbers with a stride, from one column to
one column, whose weight's gradient comes from memory that nothing wrote.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDEST_FINISHED_KERNEL = 13  # columns of a depth-wise kernel of few channels; of 15, oneDNN makes code without end
MOST_UNFINISHED_CHANNELS = 16
FEWEST_ROW_CHANNELS, FEWEST_FULL_CHANNELS = 4, 32  # between them AMX gets kernels of 4, 8, 12 ... columns wrong
NARROW = 16  # channels that fill the widest vector register


CONVOLVE: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
AVERAGE: dict[int, Callable[..., Tensor]] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


class SafeConvolution(nn.modules.conv._ConvNd):
    """What the safe convolutions of one, two and three dimensions share: they are computed by `convolve_safely`."""

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        padding: Any = self.padding
        if isinstance(padding, str) or self.padding_mode != "zeros":
            mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
            x, padding = F.pad(x, self._reversed_padding_repeated_twice, mode), (0,) * (weight.ndim - 2)
        return convolve_safely(x, weight, bias, self.stride, padding, self.dilation, self.groups)


class SafeConv1d(SafeConvolution, nn.Conv1d):
    """An nn.Conv1d that is computed by `convolve_safely`; (N, C_in, L) -> (N, C, L')."""


class SafeConv2d(SafeConvolution, nn.Conv2d):
    """An nn.Conv2d that is computed by `convolve_safely`; (N, C_in, H, W) -> (N, C, H', W')."""


class SafeConv3d(SafeConvolution, nn.Conv3d):
    """An nn.Conv3d that is computed by `convolve_safely`; (N, C_in, D, H, W) -> (N, C, D', H', W')."""


SAFE_CLASSES: dict[type[nn.Module], type[SafeConvolution]] = {
    nn.Conv1d: SafeConv1d,
    nn.Conv2d: SafeConv2d,
    nn.Conv3d: SafeConv3d,
}


def replace_unsafe_convolutions(module: nn.Module) -> None:
    """Make every plain convolution in a module that can meet a fault, or the module itself, a safe one, in place."""
    for conv in module.modules():
        if type(conv) in SAFE_CLASSES and can_meet_fault(conv):
            conv.__class__ = SAFE_CLASSES[type(conv)]


def can_meet_fault(conv: Any) -> bool:
    """Return whether a convolution meets a fault of CPU kernels, at least with maps of some sizes."""
    has_stride = max(conv.stride) > 1
    return (has_stride and (max(conv.kernel_size) > 1 or overruns_weight_gradient(conv.weight))) or (
        is_wrong_in_half_precision(conv.weight, conv.stride, conv.dilation, conv.groups)
    )


def convolve_safely(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int] = (1,),
    padding: Sequence[int] = (0,),
    dilation: Sequence[int] = (1,),
    groups: int = 1,
) -> Tensor:
    """Return the convolution of the arguments; what kernels of CPUs cannot do they do in float32 or without strides.

    In float32 the same rounded numbers are multiplied, and the result is rounded again.

    Args:
        x: maps (N, C_in, H, W), or sequences (N, C_in, L), or volumes (N, C_in, D, H, W).
        weight: kernels (C, C_in / groups, h, w), or of one or three axes after the first two.
        bias: one number per output channel (C,), or None.
        stride: steps along each of these axes, in pixels; one number stands for all.
        padding: zeros at each side of each axis, in pixels.
        dilation: distances of the taps along each axis, in pixels.
        groups: number of groups of channels.

    Returns:
        Maps (N, C, H', W'), sequences or volumes, in the number format of autocast if that is on.
    """
    if x.device.type == "cpu":
        x, stride, padding = _remove_idle_stride(x, weight, stride, padding, dilation)
        if is_half_precision(x):
            if is_wrong_in_half_precision(weight, stride, dilation, groups):
                dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
                with torch.autocast("cpu", enabled=False):
                    x, weight = x.to(dtype).float(), weight.to(dtype).float()
                    bias = None if bias is None else bias.to(dtype).float()
                    return convolve_safely(x, weight, bias, stride, padding, dilation, groups).to(dtype)
        elif max(stride) > 1 and overruns_weight_gradient(weight):
            padded = F.pad(x, [side for p in reversed(padding) for side in (p, p)]) if any(padding) else x
            # a slice would have strides that oneDNN reads wrong, if of 1 px
            x = AVERAGE[weight.ndim - 2](padded, 1, tuple(stride))
            stride, padding, dilation = (1,), (0,), (1,)
    return CONVOLVE[weight.ndim - 2](x, weight, bias, tuple(stride), tuple(padding), tuple(dilation), groups)


def _remove_idle_stride(
    x: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]
) -> tuple[Tensor, Sequence[int], Sequence[int]]:
    """If the result has one column, return the columns of x that it comes from, and 1 as the stride along W.

    With the stride, the weight's gradient comes from memory that nothing wrote, in bf16, and in float32 of one channel.
    """
    reach = dilation[-1] * (weight.shape[-1] - 1) + 1
    if stride[-1] == 1 or weight.shape[-1] == 1 or (x.shape[-1] + 2 * padding[-1] - reach) // stride[-1] > 0:
        return x, stride, padding
    padded = F.pad(x, (padding[-1], padding[-1])) if padding[-1] else x
    return padded[..., :reach], (*stride[:-1], 1), (*padding[:-1], 0)


def is_half_precision(x: Tensor) -> bool:
    """Return whether a convolution of x on a CPU is one of bf16 or fp16 numbers: x is, or autocast makes them so."""
    is_cast = torch.is_autocast_enabled("cpu") and x.dtype == torch.float32
    return is_cast or x.dtype in (torch.bfloat16, torch.float16)


def is_wrong_in_half_precision(weight: Tensor, stride: Sequence[int], dilation: Sequence[int], groups: int) -> bool:
    """Return whether CPU kernels get a convolution of bf16 or fp16 numbers wrong, or never finish.

    - Dilated, with groups, strides or channels that are no multiple of 32: gradients come from memory that nothing
      wrote.
    - Depth-wise, of at most 16 channels and kernels of 15 columns or more: the first call never returns.
    - Kernels of 4, 8, 12 ... columns and 4 to 31 channels per group: results are wrong (AMX).

    Args:
        weight: kernels (C, C_in / groups, h, w), or of one or three axes after the first two.
        stride: steps along each of these axes.
        dilation: distances of the taps along each axis.
        groups: number of groups of channels.
    """
    channels, width = weight.shape[1], weight.shape[-1]
    return (
        (max(dilation) > 1 and (groups > 1 or max(stride) > 1 or channels % FEWEST_FULL_CHANNELS > 0))
        or (channels == 1 and width > WIDEST_FINISHED_KERNEL and 1 < groups <= MOST_UNFINISHED_CHANNELS)
        or (width % 4 == 0 and FEWEST_ROW_CHANNELS <= channels < FEWEST_FULL_CHANNELS)
    )


def overruns_weight_gradient(weight: Tensor) -> bool:
    """Return whether the weight's gradient may write past its buffer in channels_last: 1x1, few channels, strided.

    That is a fault of oneDNN's float32 (issue 6035 of uxlfoundation/oneDNN), met in 3.5 (torch 2.6) to 3.12 (2.14).
    """
    return weight.shape[2:].numel() == 1 and weight.shape[1] < NARROW
