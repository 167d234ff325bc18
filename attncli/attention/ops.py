"""Reductions and products that many mechanisms share, written for the memory layout the tensor has.

In channels_last, the layout in which training is fastest, `x.mean((2, 3))` walks the memory with a stride;
as one product of (N, HW, C) with a constant vector it reads it once, in order.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def is_channels_last(x: Tensor) -> bool:
    """Whether x, (N, C, H, W), lies in memory as (N, H, W, C) and not also as (N, C, H, W)."""
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def spatial_mean(x: Tensor) -> Tensor:
    """Mean over H and W: (N, C, H, W) -> (N, C)."""
    if not is_channels_last(x):
        return x.mean((2, 3))
    n, c, h, w = x.shape
    rows = x.permute(0, 2, 3, 1).reshape(n, h * w, c)
    return (rows.new_full((1, h * w), 1 / (h * w)) @ rows).squeeze(1)


def gate(x: Tensor, s: Tensor) -> Tensor:
    """Each channel of x, (N, C, H, W), times its weight s, (N, C)."""
    return x * s[:, :, None, None]


def memory_order(t: Tensor, x: Tensor) -> Tensor:
    """t, (N, C, H, W) or a map that broadcasts to it, with its axes in the order in which x lies in memory.

    That is (N, H, W, C) where x is channels_last. Sums over an axis and broadcast products made in this order
    read memory in sequence, and so do their gradients; `usual_order` undoes it.
    """
    return t.permute(0, 2, 3, 1).contiguous() if is_channels_last(x) else t


def usual_order(t: Tensor, x: Tensor) -> Tensor:
    """t as `memory_order(_, x)` laid it out, seen as (N, C, H, W) again."""
    return t.permute(0, 3, 1, 2) if is_channels_last(x) else t


def weigh(x: Tensor, s: Tensor) -> Tensor:
    """x, (N, C, H, W), times a map that broadcasts to it, such as (N, 1, H, W) or (N, C, H, 1)."""
    return usual_order(memory_order(x, x) * memory_order(s, x), x)


def axis_mean(x: Tensor, dim: int) -> Tensor:
    """Mean of x, (N, C, H, W), over dim 1, 2 or 3, which is kept with size 1."""
    return usual_order(memory_order(x, x).mean(_axis(x, dim), keepdim=True), x)


def max_mean(x: Tensor, dim: int) -> Tensor:
    """Maximum and mean of x, (N, C, H, W), over dim 1, 2 or 3, in this order: that axis gets size 2."""
    both = _MaxMean.apply(memory_order(x, x), _axis(x, dim))
    return torch.cat([usual_order(t, x) for t in both], dim)


def _axis(x: Tensor, dim: int) -> int:
    """Where axis `dim` of (N, C, H, W) is in the order of memory."""
    return {1: 3, 2: 1, 3: 2}[dim] if is_channels_last(x) else dim


class _MaxMean(torch.autograd.Function):
    """Maximum and mean with one gradient; equal maxima share theirs evenly.

    `Tensor.max` looks up an index for every maximum, which costs several times the reduction itself.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        values = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x  # half is slow to reduce on CPU
        top = values.amax(dim, keepdim=True).to(x.dtype)
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
