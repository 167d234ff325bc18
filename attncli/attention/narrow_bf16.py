"""Fast operations on bf16 maps of few channels on a CPU, which torch's element-wise kernels do not vectorise.

If its operands differ in shape, a kernel's inner loop runs along the channels of a channels_last map, and a vector
register holds 32 numbers of bf16. With 16 channels, as in the first stage of resnet20, such a loop is not vectorised:
adding (N, C, 1, 1) to (128, 16, 32, 32) takes sixteen times as long as adding a whole map. So the smaller operand is
written out first, which costs a fraction of a pass.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

LANES = 32  # numbers of bf16 in a register of 512 bits


def is_narrow(x: Tensor) -> bool:
    """Return whether x, (N, C, H, W), is a bf16 map of few channels in channels_last on a CPU."""
    if x.dtype != torch.bfloat16 or x.device.type != "cpu" or x.shape[1] % LANES == 0 or torch.compiler.is_compiling():
        return False
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def materialize_broadcast(s: Tensor, x: Tensor) -> Tensor:
    """Return s, which broadcasts to x, as a whole map laid out as x, (N, C, H, W)."""
    n, c, h, w = x.shape
    if s.shape == (n, 1, h, w):
        repeated = s.reshape(-1, 1) @ s.new_ones(1, c)  # the quickest way to repeat every number c times
        return repeated.view(n, h, w, c).permute(0, 3, 1, 2)
    t = s.expand(n, c, -1, -1).permute(0, 2, 3, 1)
    rows = t.expand(-1, -1, w, -1).reshape(n, -1, w * c)
    return rows.expand(n, h, w * c).contiguous().view(n, h, w, c).permute(0, 3, 1, 2)


def channel_sum(x: Tensor) -> Tensor:
    """Return the sum over the channels of a narrow map, added up in float32: (N, C, H, W) -> (N, 1, H, W)."""
    n, c, h, w = x.shape
    return (x.permute(0, 2, 3, 1).reshape(-1, c) @ x.new_ones(c, 1)).view(n, 1, h, w)


def channel_max(x: Tensor) -> Tensor:
    """Return the maximum over the channels of a narrow map: (N, C, H, W) -> (N, 1, H, W)."""
    return x.contiguous().amax(1, keepdim=True)  # planes are read in whole registers


def dense_gradient(x: Tensor) -> Tensor:
    """Return x itself with a gradient that is a whole map; for a narrow map before a sum over positions.

    The gradient of a sum is a broadcast view, and autograd adds such views to the gradients of other uses of x.
    """
    unchanged: Tensor = _DenseGradient.apply(x) if is_narrow(x) else x
    return unchanged


class _DenseGradient(torch.autograd.Function):
    """The identity; its gradient is written out."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> Tensor:
        small = g
        for axis in (2, 3):
            if g.stride(axis) == 0:
                small = small.narrow(axis, 0, 1)
        return g if small is g else materialize_broadcast(small, g)
