"""Mean and standard deviation over some axes of a map, in one function with one gradient.

`Tensor.std` goes through the numbers one by one on a CPU. Here the mean is taken off, and squares are summed: as exact,
since no large numbers are subtracted from each other, and four times as fast.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from attncli.attention.ops import FEWEST_IMAGES, is_channels_last, promote_half


def mean_deviation(x: Tensor, axes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return mean and deviation (n - 1) of x, (N, C, H, W), over axes of 1 to 3, which are kept with size 1.

    Both are in float32 at least. The deviation of a single number is 0, and where it is 0 it has no gradient.
    """
    x = promote_half(x)
    if math.prod(x.shape[axis] for axis in axes) == 1:
        mean = x.mean(tuple(axes), keepdim=True)
        return mean, torch.zeros_like(mean)
    if x.device.type != "cpu" or torch.compiler.is_compiling() or len(x) < FEWEST_IMAGES:
        return x.mean(tuple(axes), keepdim=True), x.std(tuple(axes), keepdim=True)
    mean, deviation = _MeanDeviation.apply(x, tuple(axes))
    return mean, deviation


class _MeanDeviation(torch.autograd.Function):
    """Both over the axes of (N, C, H, W), which are read in the order of memory."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, axes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        ctx.count = math.prod(x.shape[axis] for axis in axes)
        mean = _sum_axes(x, axes) / ctx.count
        deviation = (_sum_axes((x - mean).square_(), axes) / (ctx.count - 1)).sqrt_()
        ctx.save_for_backward(x, mean, deviation)
        return mean, deviation

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_mean: Tensor, grad_deviation: Tensor) -> tuple[Tensor, None]:
        x, mean, deviation = ctx.saved_tensors
        slope = (grad_deviation / (deviation * (ctx.count - 1))).masked_fill_(deviation == 0, 0)
        return (x - mean).mul_(slope).add_(grad_mean / ctx.count), None


def _sum_axes(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Return the sum over axes of (N, C, H, W), kept with size 1, taken one by one: the outermost in memory first."""
    order = (2, 3, 1) if is_channels_last(x) else (1, 2, 3)
    for axis in sorted(axes, key=order.index):
        x = x.sum(axis, keepdim=True)
    return x
