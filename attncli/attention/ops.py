"""Reductions and products that many mechanisms share, written to move few bytes in either memory layout.

Two facts of torch's CPU kernels shape them. The gradient of a sum is a view, that of a mean is a whole tensor, which
is contiguous even if x is channels_last (the layout in which training is fastest). And a new buffer costs as much as
a pass over it, so `gate` reuses one. Reductions over one axis are in `axis_reductions`.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from attncli.attention.narrow_bf16 import channel_sum, dense_gradient, is_narrow, materialize_broadcast

FEWEST_IMAGES = 3  # of a batch that is worth another way than the formula; the formula is what `attncli.measure` counts


def is_channels_last(x: Tensor) -> bool:
    """Return whether x, (N, C, H, W), lies in memory as (N, H, W, C) and not also as (N, C, H, W)."""
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def match_layout(y: Tensor, x: Tensor) -> Tensor:
    """Return y, (N, C, H, W), laid out in memory as x, of the same number of axes."""
    return y.contiguous(memory_format=torch.channels_last if is_channels_last(x) else torch.contiguous_format)


def keep_layout(x: Tensor) -> Tensor:
    """Return x, (N, C, H, W), itself, with a gradient that lies in memory as x does, on a CPU.

    The norm or convolution that x comes from is slow with a gradient in another layout.
    """
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return x
    unchanged: Tensor = _KeptLayout.apply(x)
    return unchanged


class _KeptLayout(torch.autograd.Function):
    """The identity; its gradient is laid out as its argument."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.channels_last = is_channels_last(x)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        return g.contiguous(memory_format=torch.channels_last if ctx.channels_last else torch.contiguous_format)


def promote_half(t: Tensor) -> Tensor:
    """Return t in float32 if it is float16 or bfloat16, whose sums overflow or lose digits, else t itself."""
    return t.float() if t.dtype in (torch.float16, torch.bfloat16) else t


def spatial_mean(x: Tensor) -> Tensor:
    """Return the mean over H and W: (N, C, H, W) -> (N, C)."""
    if x.dtype == torch.float16 or x.device.type != "cpu":  # sums of float16 overflow; a GPU takes one kernel
        return x.mean((2, 3))
    return dense_gradient(x).sum((2, 3), dtype=x.dtype) / (x.shape[2] * x.shape[3])


def weighted_sum(x: Tensor, w: Tensor) -> Tensor:
    """Return the sum over H and W of x, (N, C, H, W), times w, (C, H, W): a depth-wise convolution to (N, C)."""
    w = w.to(x.dtype)
    if is_channels_last(x):
        return (x.permute(0, 2, 3, 1) * w.permute(1, 2, 0).contiguous()).sum((1, 2))
    return (x * w).sum((2, 3))


def spatial_max(x: Tensor) -> Tensor:
    """Return the maximum over H and W: (N, C, H, W) -> (N, C). The first of equal maxima gets the gradient."""
    return F.adaptive_max_pool2d(x, 1).flatten(1)


def gate(x: Tensor, s: Tensor) -> Tensor:
    """Return x, (N, C, H, W), times the weights s: (N, C), or a shape that broadcasts to x's, such as (N, 1, H, W).

    The result has the dtype of x. A second derivative raises RuntimeError, except under torch.compile, which gets the
    plain formula and fuses it itself, and on devices other than the CPU, where buffers cost nothing.
    """
    s = (s[:, :, None, None] if s.ndim == 2 else s).to(x.dtype)
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return x * s
    if is_channels_last(x):
        s = s.contiguous(memory_format=torch.channels_last)
    product: Tensor = _GateProduct.apply(x, s)
    return product


def materialize_if_narrow(s: Tensor, x: Tensor) -> Tensor:
    """Return s, which broadcasts to x, (N, C, H, W), written out as a whole map if x is narrow, else unchanged."""
    if not is_narrow(x):
        return s
    written: Tensor = _MaterializedMap.apply(s.to(x.dtype), x.detach())
    return written


class _MaterializedMap(torch.autograd.Function):
    """`materialize_broadcast`, with a gradient that is summed in the order of memory."""

    @staticmethod
    def forward(ctx: Any, s: Tensor, x: Tensor) -> Tensor:
        ctx.shape = s.shape
        return materialize_broadcast(s, x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        return _sum_to_shape(g, ctx.shape), None


def _sum_to_shape(t: Tensor, shape: torch.Size) -> Tensor:
    """Return t summed over the axes along which `shape` was broadcast to it, read in the order of memory."""
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
    """Return s as torch multiplies it fastest with x: written out if x is narrow and s has one channel."""
    return materialize_broadcast(s, x) if s.shape[1] == 1 < x.shape[1] and is_narrow(x) else s
