"""Convolutions whose kernels differ by position."""

import pytest
import torch
from torch.nn import functional as F

from attncli.attention.local_convolution import convolve_locally


@pytest.mark.parametrize(("k", "stride", "size"), [(3, 1, (4, 5)), (5, 2, (7, 4)), (7, 2, (3, 3)), (1, 1, (2, 3))])
def test_equal_kernels_are_a_convolution(k: int, stride: int, size: tuple[int, int]) -> None:
    """With the same kernel everywhere it is a depth-wise convolution whose groups share kernels."""
    g, c = 2, 3
    x = torch.randn(2, g, c, *size, dtype=torch.float64)
    weight = torch.randn(g, k * k, dtype=torch.float64)
    kernels = weight[None, :, :, None, None].expand(2, -1, -1, *(-(-s // stride) for s in size))
    shared = weight.view(g, 1, 1, k, k).expand(-1, c, 1, -1, -1).flatten(0, 1)
    expected = F.conv2d(x.flatten(1, 2), shared, stride=stride, padding=k // 2, groups=g * c)
    torch.testing.assert_close(convolve_locally(x, kernels, stride).flatten(1, 2), expected)


def test_each_position_has_its_kernel() -> None:
    """One position's kernel picks its right neighbour, all others are zero."""
    x = torch.arange(9.0).view(1, 1, 1, 3, 3)
    kernels = torch.zeros(1, 1, 9, 3, 3)
    kernels[0, 0, 5, 1, 1] = 2.0
    expected = torch.zeros(1, 1, 1, 3, 3)
    expected[..., 1, 1] = 2 * 5.0
    assert torch.equal(convolve_locally(x, kernels), expected)
