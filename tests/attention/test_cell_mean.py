"""Means over cells."""

import pytest
import torch
from torch.nn import functional as F

from attncli.attention.cell_mean import mean_of_cells


@pytest.mark.parametrize(("side", "size"), [(2, (4, 6)), (2, (5, 7)), (3, (4, 8)), (4, (3, 3)), (1, (2, 3))])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_they_are_those_of_torch(side: int, size: tuple[int, int], layout: torch.memory_format) -> None:
    """Values and gradient; cells at the border have fewer positions. The gradient lies as the map does."""
    torch.manual_seed(0)
    x = torch.randn(2, 3, *size, dtype=torch.float64).to(memory_format=layout).requires_grad_()
    got, expected = mean_of_cells(x, side), F.avg_pool2d(x, side, ceil_mode=True)
    torch.testing.assert_close(got, expected)
    weights = torch.randn_like(expected)
    ours, theirs = (torch.autograd.grad(y, x, weights)[0] for y in (got, expected))
    torch.testing.assert_close(ours, theirs)
    assert ours.contiguous(memory_format=layout).shape == x.shape
