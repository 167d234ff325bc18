"""Convolution with kernels that differ from position to position, as CoT and involution predict them.

The taps are added one after the other, so that no map is copied once per tap: of a 7 x 7 kernel that would be 49
copies of the map. The products count as element-wise work, not as MACs, because no product of matrices is run.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def convolve_locally(x: Tensor, kernels: Tensor, stride: int = 1) -> Tensor:
    """Return y[c, i, j] = sum over taps of kernels[g, tap, i, j] x[c, s i + a - k // 2, s j + b - k // 2].

    Args:
        x: Groups of channels that share a kernel, (N, G, c, H, W); zeros lie beyond the map.
        kernels: (N, G, k * k, H', W'), taps in row-major order, k odd.
        stride: s; H' = ceil(H / s).

    Returns:
        (N, G, c, H', W').
    """
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
