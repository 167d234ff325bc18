"""Reductions and products that many mechanisms share, written to move few bytes in either memory layout.

Two facts of torch's CPU kernels shape them. The gradient of a sum is a view, that of a mean a whole tensor,
contiguous even where x is channels_last (the layout in which training is fastest). And a fresh buffer costs as
much as a pass over it, so `gate` reuses one. Reductions over one axis are in `axes`.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from attncli.attention.narrow_bf16 import channel_sum, dense_gradient, is_narrow, materialize_broadcast


def is_channels_last(x: Tensor) -> bool:
    """Whether x, (N, C, H, W), lies in memory as (N, H, W, C) and not also as (N, C, H, W)."""
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def spatial_mean(x: Tensor) -> Tensor:
    """Mean over H and W: (N, C, H, W) -> (N, C)."""
    if x.dtype == torch.float16:  # whose sums overflow
        return x.mean((2, 3))
    return dense_gradient(x).sum((2, 3), dtype=x.dtype) / (x.shape[2] * x.shape[3])


def weighted_sum(x: Tensor, w: Tensor) -> Tensor:
    """Sum over H and W of x, (N, C, H, W), times w, (C, H, W): a depth-wise convolution as large as the map, (N, C)."""
    w = w.to(x.dtype)
    if is_channels_last(x):
        return (x.permute(0, 2, 3, 1) * w.permute(1, 2, 0).contiguous()).sum((1, 2))
    return (x * w).sum((2, 3))


def spatial_max(x: Tensor) -> Tensor:
    """Maximum over H and W: (N, C, H, W) -> (N, C). Of equal maxima the first gets the gradient."""
    return F.adaptive_max_pool2d(x, 1).flatten(1)


def gate(x: Tensor, s: Tensor) -> Tensor:
    """x, (N, C, H, W), times weights s: (N, C) for channels, or a shape that broadcasts to x's, as (N, 1, H, W).

    The result has the dtype of x. A second derivative raises RuntimeError, except under torch.compile, which
    gets the plain formula and fuses it itself.
    """
    s = (s[:, :, None, None] if s.ndim == 2 else s).to(x.dtype)
    if torch.compiler.is_compiling():
        return x * s
    if is_channels_last(x):
        s = s.contiguous(memory_format=torch.channels_last)
    product: Tensor = _GateProduct.apply(x, s)
    return product


def materialize_if_narrow(s: Tensor, x: Tensor) -> Tensor:
    """s, which broadcasts to x, (N, C, H, W): written out as a map where x is narrow, else as it is."""
    if not is_narrow(x):
        return s
    written: Tensor = _MaterializedMap.apply(s.to(x.dtype), x.detach())
    return written


class _MaterializedMap(torch.autograd.Function):
    """`spread`, with a gradient that is summed in the order of memory."""

    @staticmethod
    def forward(ctx: Any, s: Tensor, x: Tensor) -> Tensor:
        ctx.shape = s.shape
        return materialize_broadcast(s, x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        return _sum_to_shape(g, ctx.shape), None


def _sum_to_shape(t: Tensor, shape: torch.Size) -> Tensor:
    """t summed over the axes along which `shape` was broadcast to it, read in the order of memory."""
    if not is_channels_last(t):
        return t.sum_to_size(shape)
    n, c, h, w = shape
    if (n, c, h, w) == (t.shape[0], 1, *t.shape[2:]) and is_narrow(t):
        return channel_sum(t)
    return t.permute(0, 2, 3, 1).sum_to_size(n, h, w, c).permute(0, 3, 1, 2)


class _GateProduct(torch.autograd.Function):
    """x * s with one buffer for both gradients: it holds g * x until that is summed, then g * s."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, s: Tensor) -> Tensor:
        ctx.save_for_backward(x, s)
        return x * _broadcast_weights(s, x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, s = ctx.saved_tensors
        for_x, for_s = ctx.needs_input_grad
        if not for_s:
            return (g * _broadcast_weights(s, x) if for_x else None), None
        products = g * x
        if s.shape == x.shape:
            return (g * s if for_x else None), products
        ds = _sum_to_shape(products, s.shape)
        return (torch.mul(g, _broadcast_weights(s, x), out=products) if for_x else None), ds


def _broadcast_weights(s: Tensor, x: Tensor) -> Tensor:
    """s as torch multiplies it fastest with x: one weight for all channels of a narrow map is written out."""
    return materialize_broadcast(s, x) if s.shape[1] == 1 < x.shape[1] and is_narrow(x) else s
