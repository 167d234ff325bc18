"""The shared reductions and products, in either memory layout."""

import pytest
import torch
from torch import Tensor

from attncli.attention.ops import gate, is_channels_last, spatial_max, spatial_mean

LAYOUTS = pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["NCHW", "NHWC"])
WEIGHTS = [(3, 5), (3, 5, 1, 1), (3, 1, 4, 6), (3, 5, 1, 6), (3, 5, 4, 1), (1, 1, 1, 1), (3, 5, 4, 6)]


def draw(*shape: int, layout: torch.memory_format = torch.contiguous_format) -> Tensor:
    """A leaf in float64."""
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)), dtype=torch.float64)
    return (x.to(memory_format=layout) if x.ndim == 4 else x).requires_grad_()


def plain(x: Tensor, s: Tensor) -> Tensor:
    """The product as a formula."""
    return x * (s[:, :, None, None] if s.ndim == 2 else s)


@LAYOUTS
def test_mean_equals_torch(layout: torch.memory_format) -> None:
    """Value and gradient are those of `mean` to 1e-12."""
    x = draw(3, 5, 4, 6, layout=layout)
    got, expected = spatial_mean(x), x.mean((2, 3))
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)
    grads = [torch.autograd.grad(y.sin().sum(), x)[0] for y in (got, expected)]
    torch.testing.assert_close(*grads, rtol=1e-12, atol=1e-12)


@LAYOUTS
def test_maximum_equals_torch(layout: torch.memory_format) -> None:
    """Value and gradient are those of `amax`."""
    x = draw(3, 5, 4, 6, layout=layout)
    got, expected = spatial_max(x), x.amax((2, 3))
    assert torch.equal(got, expected)
    assert torch.equal(*(torch.autograd.grad(y.square().sum(), x)[0] for y in (got, expected)))


@LAYOUTS
@pytest.mark.parametrize("shape", WEIGHTS, ids=str)
def test_gate_equals_the_product(layout: torch.memory_format, shape: tuple[int, ...]) -> None:
    """Value, layout and both gradients are those of `x * s`, for every way in which s broadcasts."""
    x, s = draw(3, 5, 4, 6, layout=layout), draw(*shape)
    got, expected = gate(x, s), plain(x, s)
    assert got.is_contiguous(memory_format=layout)
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)
    w = torch.randn(3, 5, 4, 6, dtype=torch.float64)
    for a, b in zip(*(torch.autograd.grad((y * w).sum(), (x, s)) for y in (got, expected)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@LAYOUTS
@pytest.mark.parametrize("shape", WEIGHTS, ids=str)
def test_gradients_by_finite_differences(layout: torch.memory_format, shape: tuple[int, ...]) -> None:
    """The gradients written by hand agree with finite differences."""
    x = draw(3, 5, 4, 6, layout=layout)
    assert torch.autograd.gradcheck(gate, (x, draw(*shape)))


@pytest.mark.parametrize("wanted", ["x", "s"])
def test_gate_with_one_gradient(wanted: str) -> None:
    """A frozen input costs no gradient and does not change the other's."""
    x, s = draw(3, 5, 4, 6), draw(3, 5)
    (s if wanted == "x" else x).requires_grad_(False)
    leaf = x if wanted == "x" else s
    got, expected = (torch.autograd.grad(f(x, s).square().sum(), leaf)[0] for f in (gate, plain))
    torch.testing.assert_close(got, expected)


def test_gate_keeps_the_dtype_of_x() -> None:
    """Weights in float32 do not widen a bfloat16 map, and get a gradient in their own dtype."""
    x, s = torch.randn(2, 3, 4, 4, dtype=torch.bfloat16), torch.rand(2, 3, requires_grad=True)
    y = gate(x, s)
    y.sum().backward()
    assert y.dtype == torch.bfloat16
    assert s.grad is not None
    assert s.grad.dtype == torch.float32


def test_second_derivative_is_refused() -> None:
    """A second derivative raises instead of being wrong."""
    x, s = draw(3, 5, 4, 6), draw(3, 5)
    (first,) = torch.autograd.grad(gate(x, s).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


@LAYOUTS
def test_sums_in_bfloat16_are_made_in_float32(layout: torch.memory_format) -> None:
    """The mean of many bfloat16 numbers is right to the last digits of bfloat16, also under autocast."""
    x = (torch.rand(2, 64, 32, 32, generator=torch.Generator().manual_seed(0)) + 3).bfloat16().to(memory_format=layout)
    with torch.autocast("cpu", torch.bfloat16):
        mean = spatial_mean(x)
    assert mean.dtype == torch.bfloat16
    torch.testing.assert_close(mean.double(), x.double().mean((2, 3)), rtol=2**-7, atol=0)


def test_means_of_float16_do_not_overflow() -> None:
    """A map whose sum is beyond float16 has its mean all the same."""
    assert spatial_mean(torch.full((1, 1, 128, 128), 8.0, dtype=torch.float16)).item() == 8


def test_layout_is_told_apart() -> None:
    """A tensor that is both contiguous and channels_last counts as contiguous."""
    assert is_channels_last(torch.empty(2, 3, 4, 4).to(memory_format=torch.channels_last))
    assert not is_channels_last(torch.empty(2, 3, 4, 4))
    assert not is_channels_last(torch.empty(2, 3, 1, 1).to(memory_format=torch.channels_last))


def test_compiled_functions_agree() -> None:
    """torch.compile traces the operations without a break and gives the same values and gradients."""
    x, s = draw(3, 5, 4, 6, layout=torch.channels_last), draw(3, 5)

    def everything(x: Tensor, s: Tensor) -> Tensor:
        return (gate(x, s).sin().sum((2, 3)) * spatial_mean(x) * spatial_max(x)).sum()

    compiled = torch.compile(everything, fullgraph=True, backend="aot_eager")
    got, expected = (torch.autograd.grad(f(x, s), (x, s)) for f in (compiled, everything))
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b)
