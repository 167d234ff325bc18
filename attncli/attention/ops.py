"""Reductions and products that many mechanisms share, written for the memory layout the tensor has.

In channels_last, the layout in which training is fastest, `x.mean((2, 3))` walks the memory with a stride;
as one product of (N, HW, C) with a constant vector it reads it once, in order.
"""

import torch
from torch import Tensor


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
