"""Mean and deviation with one gradient."""

import pytest
import torch

from attncli.attention.mean_deviation import mean_deviation


@pytest.mark.parametrize("axes", [(2, 3), (1, 3), (1, 2), (1, 2, 3)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_they_are_those_of_torch(axes: tuple[int, ...], layout: torch.memory_format) -> None:
    """Values and gradient in float64; the gradient lies as the map does."""
    torch.manual_seed(0)
    x = torch.randn(3, 3, 4, 5, dtype=torch.float64).to(memory_format=layout).requires_grad_()
    got, expected = mean_deviation(x, axes), (x.mean(axes, keepdim=True), x.std(axes, keepdim=True))
    weights = [torch.randn_like(t) for t in expected]
    for ours, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(ours, theirs)
    ours, theirs = (torch.autograd.grad(ts, x, weights)[0] for ts in (got, expected))
    torch.testing.assert_close(ours, theirs)
    assert ours.is_contiguous(memory_format=layout)


def test_a_large_mean_does_not_drown_the_deviation() -> None:
    """In float32 the mean of the squares less the square of the mean would be off by more than all of it."""
    x = (10_000 + torch.tensor([-1.0, 1.0, -1.0, 1.0])).expand(3, 1, 1, 4)
    torch.testing.assert_close(mean_deviation(x, (2, 3))[1][2].item(), (4 / 3) ** 0.5)


@pytest.mark.parametrize("size", [(3, 3), (1, 1)])
def test_equal_numbers_have_no_deviation_and_pass_no_gradient_to_it(size: tuple[int, int]) -> None:
    """Neither inf nor nan; a single number has none either."""
    x = torch.full((3, 1, *size), 5.0, requires_grad=True)
    mean, deviation = mean_deviation(x, (2, 3))
    assert mean.flatten().tolist() == [5, 5, 5]
    assert deviation.flatten().tolist() == [0, 0, 0]
    gradient = torch.autograd.grad((mean + deviation).sum(), x)[0]
    assert torch.equal(gradient, torch.full_like(x, 1 / (size[0] * size[1])))


def test_half_precision_is_taken_in_float32() -> None:
    """Of bf16 numbers, whose sums would lose digits."""
    x = (torch.arange(1000.0) % 7).expand(3, 1000).reshape(3, 1, 25, 40)
    mean, deviation = mean_deviation(x.bfloat16(), (2, 3))
    assert mean.dtype == deviation.dtype == torch.float32
    torch.testing.assert_close(deviation, x.std((2, 3), keepdim=True))
