"""Convolution with kernels that differ from position to position, as CoT and involution predict them.

The taps are added one after the other, so that no map is copied once per tap: of a 7 x 7 kernel that would be 49
copies of the map. The products count as element-wise work, not as MACs, because no product of matrices is run.

On a CPU that takes longest by far to wait for memory, and to start again at every row of a map. So a few images at a
time are taken, whose maps stay in the cache, and each map is one row: with zeros between its rows, a tap is a shift.
"""

from collections.abc import Iterator
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from attncli.attention.ops import FEWEST_IMAGES, promote_half

CACHED_NUMBERS = 1 << 18  # numbers of the kernels, or of the maps, of the images that are taken at once


def convolve_locally(x: Tensor, kernels: Tensor, stride: int = 1) -> Tensor:
    """Return y[c, i, j] = sum over taps of kernels[g, tap, i, j] x[c, s i + a - k // 2, s j + b - k // 2].

    Args:
        x: Groups of channels that share a kernel, (N, G, c, H, W); zeros lie beyond the map.
        kernels: (N, G, k * k, H', W'), taps in row-major order, k odd.
        stride: s; H' = ceil(H / s).

    Returns:
        (N, G, c, H', W').
    """
    if x.device.type == "cpu" and len(x) >= FEWEST_IMAGES and not torch.compiler.is_compiling():
        shifted: Tensor = _ShiftedProducts.apply(x, kernels, stride)
        return shifted
    k = round(kernels.shape[2] ** 0.5)
    h, w = kernels.shape[3:]
    padded = F.pad(x, (k // 2,) * 4)
    y = torch.zeros((), dtype=x.dtype, device=x.device)
    for tap in range(k * k):
        rows, columns = (
            slice(tap // k, tap // k + stride * (h - 1) + 1, stride),
            slice(tap % k, tap % k + stride * (w - 1) + 1, stride),
        )
        y = torch.addcmul(y, padded[..., rows, columns], kernels[:, :, tap, None])
    return y


class _ShiftedProducts(torch.autograd.Function):
    """The same, in float32 at least, with maps as rows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernels: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x, kernels)
        ctx.stride = stride
        y = torch.empty_like(x[..., : kernels.shape[3], : kernels.shape[4]])  # laid out in memory as x
        for images in _split_batch(x, kernels):
            rows = _Rows(x[images], kernels[images], stride)
            sums = torch.zeros_like(rows.maps[0, ..., : rows.length])
            for shifted, kernel in zip(rows.shift_maps(rows.maps), rows.kernels, strict=True):
                sums.addcmul_(shifted, kernel[:, :, None])
            y[images] = rows.cut(sums)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, Tensor, None]:
        x, kernels = ctx.saved_tensors
        dx, dkernels = torch.empty_like(x), torch.empty_like(kernels)
        for images in _split_batch(x, kernels):
            rows = _Rows(x[images], kernels[images], ctx.stride)
            gradient, map_gradients = rows.fill_up(dy[images]), torch.zeros_like(rows.maps)
            kernel_gradients = torch.empty_like(rows.kernels)
            for shifted, kernel_gradient in zip(rows.shift_maps(rows.maps), kernel_gradients, strict=True):
                torch.sum(gradient * shifted, 2, out=kernel_gradient)
            for shifted, kernel in zip(rows.shift_maps(map_gradients), rows.kernels, strict=True):
                shifted.addcmul_(gradient, kernel[:, :, None])
            dx[images] = rows.join_maps(map_gradients)
            dkernels[images] = rows.cut(kernel_gradients).permute(1, 2, 0, 3, 4)
        return dx, dkernels, None


def _split_batch(x: Tensor, kernels: Tensor) -> Iterator[slice]:
    """Yield the images that are taken at once."""
    at_once = max(1, CACHED_NUMBERS // max(kernels[0].numel(), x[0].numel()))
    return (slice(start, start + at_once) for start in range(0, len(x), at_once))


class _Rows:
    """A few maps and their kernels as rows, with zeros behind each row of a map, so that a tap is a shift.

    `maps` is (s * s, n, G, c, positions): with a stride s, every s-th row and column is a map of its own. `kernels` is
    (k * k, n, G, length), and the results of the taps have that length too.
    """

    def __init__(self, x: Tensor, kernels: Tensor, stride: int) -> None:
        k, (height, width) = round(kernels.shape[2] ** 0.5), kernels.shape[3:]
        reach = (k - 1) // stride  # of the kernel, in steps of the stride
        self.k, self.stride, self.size, self.width = k, stride, (height, width), width + reach
        self.input_size = (x.shape[3], x.shape[4])
        sides = ((height + reach + 1) * stride, self.width * stride)  # a row more, for the last shift
        behind = [side - k // 2 - length for side, length in zip(sides, self.input_size, strict=True)]
        padded = F.pad(promote_half(x), (k // 2, behind[1], k // 2, behind[0]))
        phases = padded.unflatten(4, (-1, stride)).unflatten(3, (-1, stride))  # (n, G, c, rows, s, columns, s)
        self.maps = phases.permute(4, 6, 0, 1, 2, 3, 5).flatten(5).flatten(0, 1).contiguous()
        self.kernels = self.fill_up(kernels.permute(2, 0, 1, 3, 4))
        self.length = height * self.width

    def shift_maps(self, maps: Tensor) -> Iterator[Tensor]:
        """Yield what each tap reads of the maps, (n, G, c, length), a view."""
        phases = maps.unbind()
        for row, column in product(range(self.k), repeat=2):
            start = row // self.stride * self.width + column // self.stride
            phase = phases[row % self.stride * self.stride + column % self.stride]
            yield phase.narrow(3, start, self.length)

    def fill_up(self, t: Tensor) -> Tensor:
        """Return (..., H', W') in float32 at least as rows (..., length)."""
        return F.pad(promote_half(t), (0, self.width - self.size[1])).flatten(-2)

    def cut(self, rows: Tensor) -> Tensor:
        """Undo `fill_up`."""
        return rows.unflatten(-1, (self.size[0], self.width))[..., : self.size[1]]

    def join_maps(self, maps: Tensor) -> Tensor:
        """Return the inputs, (n, G, c, H, W), of their maps, without the zeros around them."""
        phases = maps.unflatten(4, (-1, self.width)).unflatten(0, (self.stride, self.stride))
        whole = phases.permute(2, 3, 4, 5, 0, 6, 1).flatten(5).flatten(3, 4)
        rows, columns = (slice(self.k // 2, self.k // 2 + side) for side in self.input_size)
        return whole[..., rows, columns]
