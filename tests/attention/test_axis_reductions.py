"""Reductions and products along one axis, in either memory layout."""

import pytest
import torch

from attncli.attention.axis_reductions import axis_mean, max_mean, memory_order, usual_order

LAYOUTS = pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["NCHW", "NHWC"])


def draw(layout: torch.memory_format) -> torch.Tensor:
    """A leaf of shape (2, 5, 4, 3) in float64."""
    x = torch.randn(2, 5, 4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return x.to(memory_format=layout).requires_grad_()


@LAYOUTS
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_max_mean_equals_torch(layout: torch.memory_format, dim: int) -> None:
    """Values and gradient are those of `max` and `mean`, stacked along the axis in this order."""
    x = draw(layout)
    expected = torch.cat([x.max(dim, keepdim=True)[0], x.mean(dim, keepdim=True)], dim)
    w = torch.randn(expected.shape, dtype=torch.float64)
    (grad,) = torch.autograd.grad((expected * w).sum(), x)
    got = max_mean(x, dim)
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(torch.autograd.grad((got * w).sum(), x)[0], grad)


def test_equal_maxima_share_the_gradient() -> None:
    """Of three equal maxima each gets a third, so that the gradients of a map of one value sum to 1."""
    x = torch.ones(1, 3, 1, 1, dtype=torch.float64, requires_grad=True)
    max_mean(x, 1)[:, 0].sum().backward()
    torch.testing.assert_close(x.grad, torch.full_like(x, 1 / 3))


@LAYOUTS
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_axis_mean_equals_torch(layout: torch.memory_format, dim: int) -> None:
    """The mean over one axis, which keeps size 1, in a tensor of x's order of axes."""
    x = draw(layout)
    torch.testing.assert_close(axis_mean(x, dim), x.mean(dim, keepdim=True))


@LAYOUTS
@pytest.mark.parametrize("shape", [(2, 5, 1, 1), (2, 1, 4, 3), (2, 5, 1, 3), (2, 5, 4, 1)])
def test_products_in_memory_order(layout: torch.memory_format, shape: tuple[int, ...]) -> None:
    """A product made in memory order is `x * s` with its gradients, in the layout of x."""
    x, s = draw(layout), torch.randn(shape, dtype=torch.float64, requires_grad=True)
    expected, got = x * s, usual_order(memory_order(x, x) * memory_order(s, x), x)
    torch.testing.assert_close(got, expected)
    assert got.is_contiguous(memory_format=layout)
    assert memory_order(x, x).is_contiguous()
    w = torch.randn_like(x)
    for a, b in zip(*(torch.autograd.grad((y * w).sum(), (x, s)) for y in (got, expected)), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("shape", [(2, 16, 7, 5), (2, 3, 8, 4), (1, 40, 2, 2)])
def test_maxima_of_short_rows(dim: int, shape: tuple[int, ...]) -> None:
    """The maximum is exact however it is found: odd and even sizes, infinities and NaN among the values."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(memory_format=torch.channels_last)
    x[0, 0, 0, 0], x[0, 1, 1, 1], x[0, 2, 1, 0] = torch.inf, -torch.inf, torch.nan
    found = max_mean(x, dim).narrow(dim, 0, 1)
    torch.testing.assert_close(found, x.amax(dim, keepdim=True), rtol=0, atol=0, equal_nan=True)
