"""Means over the cells of a map, with a gradient that is fast in channels_last on a CPU."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from attncli.attention.ops import is_channels_last


def mean_of_cells(x: Tensor, side: int) -> Tensor:
    """Return the means of x, (N, C, H, W), over cells of side x side, those at the border over what is left of them.

    The result is (N, C, ceil(H / side), ceil(W / side)).
    """
    if x.device.type != "cpu" or torch.compiler.is_compiling() or not is_channels_last(x):
        return F.avg_pool2d(x, side, ceil_mode=True)
    means: Tensor = _CellMeans.apply(x, side)
    return means


class _CellMeans(torch.autograd.Function):
    """The pool; its gradient is copied to the positions of a cell, which torch does number by number."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, side: int) -> Tensor:
        ctx.save_for_backward(x)
        ctx.side = side
        return F.avg_pool2d(x, side, ceil_mode=True)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        (n, c, h, w), side = x.shape, ctx.side
        rows, columns = (_count_positions(length, side, dy) for length in (h, w))
        share = (dy / (rows[:, None] * columns)).permute(0, 2, 3, 1)[:, :, None, :, None]  # (N, h, 1, w, 1, C)
        copies = share.expand(-1, -1, side, -1, side, -1).reshape(n, side * len(rows), side * len(columns), c)
        return copies[:, :h, :w].permute(0, 3, 1, 2), None


def _count_positions(length: int, side: int, dy: Tensor) -> Tensor:
    """Return how many positions of an axis each cell has: `side`, the last one perhaps fewer."""
    starts = torch.arange(0, length, side, device=dy.device)
    return (length - starts).clamp_max(side).to(dy.dtype)
