"""Reductions over one axis of a map, and products with them, in the order in which the map lies in memory.

In channels_last a sum over H or W, `x.sum(2)`, walks the memory with a stride, and so does the gradient of a product
with a map of shape (N, C, 1, W). As (N, H, W, C) the same tensor is read in sequence, three to five times as fast.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from attncli.attention.narrow_bf16 import channel_max, channel_sum, dense_gradient, is_narrow, materialize_broadcast
from attncli.attention.ops import is_channels_last, promote_half

SHORT_INNER_SIZE = 32  # numbers inside of an axis below which `amax` over it is slow
SHORT_ROW = 16  # columns of bf16 below which adding the gradient of a sum, a view, is slower than writing it out


def memory_order(t: Tensor, x: Tensor) -> Tensor:
    """Return t, (N, C, H, W) or broadcasting to it, with its axes in the order in which x lies in memory.

    That is (N, H, W, C) if x is channels_last, else t itself. `usual_order` undoes it.
    """
    return t.permute(0, 2, 3, 1).contiguous() if is_channels_last(x) else t


def usual_order(t: Tensor, x: Tensor) -> Tensor:
    """Return t, laid out by `memory_order(_, x)`, as (N, C, H, W) again."""
    return t.permute(0, 3, 1, 2) if is_channels_last(x) else t


def axis_mean(x: Tensor, dim: int) -> Tensor:
    """Return mean of x, (N, C, H, W), over dim 1, 2 or 3, which is kept with size 1."""
    if x.device.type != "cpu":
        return x.mean(dim, keepdim=True)
    x = dense_gradient(x) if dim > 1 else x
    t, axis = memory_order(x, x), _memory_axis(x, dim)
    is_slow_sum = x.dtype == torch.bfloat16 and not is_channels_last(x) and x.shape[3] < SHORT_ROW
    if is_slow_sum or x.dtype == torch.float16:  # whose sums overflow
        return usual_order(t.mean(axis, keepdim=True), x)
    return usual_order(t.sum(axis, keepdim=True) / x.shape[dim], x)  # the gradient of a sum is a view


def max_mean(x: Tensor, dim: int) -> Tensor:
    """Return maximum and mean of x, (N, C, H, W), over dim 1, 2 or 3, in this order: that axis gets size 2."""
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return torch.cat((x.amax(dim, keepdim=True), x.mean(dim, keepdim=True)), dim)
    if is_narrow(x):
        return torch.cat(_NarrowMaxMean.apply(x, dim), dim)
    reductions = _MaxMean.apply(memory_order(x, x), _memory_axis(x, dim))
    return torch.cat([usual_order(t, x) for t in reductions], dim)


def _memory_axis(x: Tensor, dim: int) -> int:
    """Return the place of axis `dim` of (N, C, H, W) in the order of memory."""
    return {1: 3, 2: 1, 3: 2}[dim] if is_channels_last(x) else dim


def _reduce_maximum(t: Tensor, dim: int) -> Tensor:
    """Return the maximum over one axis, which is kept with size 1.

    `amax` takes ten times as long if the axes after `dim` are too short to fill its loops. Then halves of the axis are
    compared until one is left.
    """
    inner_size = math.prod(t.shape[dim + 1 :])
    if inner_size == 1 or inner_size >= SHORT_INNER_SIZE:
        return t.amax(dim, keepdim=True)
    while (size := t.shape[dim]) > 1:
        half = size // 2
        odd_slice = t.narrow(dim, 2 * half, size % 2)
        t = torch.maximum(t.narrow(dim, 0, half), t.narrow(dim, half, half))
        t = torch.cat((t, odd_slice), dim) if size % 2 else t
    return t


class _MaxMean(torch.autograd.Function):
    """Maximum and mean with one gradient; equal maxima share theirs evenly.

    `Tensor.max` looks up the place of every maximum, which costs several times the reduction itself.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        values = promote_half(x)  # half precision is slow to reduce on a CPU
        top = _reduce_maximum(values, dim).to(x.dtype)
        ctx.save_for_backward(x, top)
        ctx.dim = dim
        return top, values.mean(dim, keepdim=True).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_top: Tensor, grad_mean: Tensor) -> tuple[Tensor, None]:
        x, top = ctx.saved_tensors
        grad = torch.eq(x, top, out=torch.empty_like(x))  # 1 at every maximum; as bool it would take far longer
        grad.mul_(grad_top / grad.sum(ctx.dim, keepdim=True)).add_(grad_mean / x.shape[ctx.dim])
        return grad, None


class _NarrowMaxMean(torch.autograd.Function):
    """The same for a narrow map, (N, C, H, W), on which nothing is broadcast."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        if dim == 1:
            top, total = channel_max(x), channel_sum(x)
        else:
            values, axis = memory_order(x, x), _memory_axis(x, dim)
            top = usual_order(_reduce_maximum(values, axis), x)
            total = usual_order(values.sum(axis, keepdim=True, dtype=x.dtype), x)
        ctx.save_for_backward(x, top)
        ctx.dim = dim
        return top, (total / x.shape[dim]).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_top: Tensor, grad_mean: Tensor) -> tuple[Tensor, None]:
        x, top = ctx.saved_tensors
        peaks = torch.eq(x, materialize_broadcast(top, x), out=torch.empty_like(x))
        count = channel_sum(peaks) if ctx.dim == 1 else peaks.sum(ctx.dim, keepdim=True)
        share = materialize_broadcast(grad_top / count, x)
        return torch.addcmul(materialize_broadcast(grad_mean / x.shape[ctx.dim], x), peaks, share, out=share), None
