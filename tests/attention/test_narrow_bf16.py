"""bf16 maps of few channels: the quick ways give what the plain formulas give."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from attncli.attention.axis_reductions import axis_mean, max_mean
from attncli.attention.narrow_bf16 import channel_max, channel_sum, dense_gradient, is_narrow, materialize_broadcast
from attncli.attention.ops import gate, materialize_if_narrow, spatial_mean

N, H, W = 3, 5, 4
ATOL = 2e-2  # some roundings of bf16, of values about 1


def draw(
    c: int, *, shape: Sequence[int | None] = (N, None, H, W), dtype: torch.dtype = torch.bfloat16, seed: int = 0
) -> Tensor:
    """Noise in channels_last; None in `shape` stands for c."""
    random = torch.Generator().manual_seed(seed)
    x = torch.randn([c if s is None else s for s in shape], generator=random)
    return x.to(dtype).contiguous(memory_format=torch.channels_last)


def test_which_maps_are_narrow() -> None:
    """bf16, channels_last, channels that do not fill registers."""
    assert is_narrow(draw(16))
    assert is_narrow(draw(40))  # 8 of 40 are left over
    assert not is_narrow(draw(64))
    assert not is_narrow(draw(16).contiguous())
    assert not is_narrow(draw(16, dtype=torch.float32))


@pytest.mark.parametrize("shape", [(N, 1, H, W), (N, None, 1, 1), (N, None, H, 1), (N, None, 1, W), (1, None, 1, 1),
                                   (1, 1, H, W), (N, 1, 1, 1)])  # fmt: skip
def test_spread_is_the_same_to_the_bit(shape: Sequence[int | None]) -> None:
    """As `expand`, but a map of its own."""
    x = draw(16)
    s = draw(16, shape=shape)
    whole = materialize_broadcast(s, x)
    assert torch.equal(whole, s.expand_as(x))
    assert whole.is_contiguous(memory_format=torch.channels_last)


def test_spread_keeps_what_is_no_number() -> None:
    """Infinities and NaN reach every channel, and no other position."""
    s = torch.tensor([torch.inf, -torch.inf, torch.nan, 1.0]).bfloat16().view(1, 1, 2, 2)
    whole = materialize_broadcast(s, draw(16, shape=(1, None, 2, 2)))
    torch.testing.assert_close(whole, s.expand(1, 16, 2, 2), rtol=0, atol=0, equal_nan=True)


def test_reductions_over_channels() -> None:
    """The maximum exactly, the sum to the rounding of its result."""
    x = draw(24)
    assert torch.equal(channel_max(x), x.amax(1, keepdim=True))
    torch.testing.assert_close(channel_sum(x).float(), x.float().sum(1, keepdim=True), rtol=1e-2, atol=ATOL)


def agree(quick: Callable[..., Tensor], plain: Callable[..., Tensor], *inputs: Tensor) -> None:
    """Values and gradients of `quick` in bf16 and of `plain` in float64 on the same numbers."""
    ours = [t.clone().requires_grad_() for t in inputs]
    theirs = [t.double().requires_grad_() for t in inputs]
    y, z = quick(*ours), plain(*theirs)
    g = draw(y.shape[1], shape=tuple(y.shape), seed=9) if y.ndim == 4 else torch.ones_like(y)
    torch.testing.assert_close(y.double(), z, rtol=2e-2, atol=ATOL)
    y.backward(g)
    z.backward(g.double())
    for a, b in zip(ours, theirs, strict=True):
        assert a.grad is not None
        torch.testing.assert_close(a.grad.double(), b.grad, rtol=2e-2, atol=2 * ATOL)


@pytest.mark.parametrize("shape", [(N, 1, H, W), (N, None, 1, 1), (N, None, H, 1)])
def test_gates(shape: Sequence[int | None]) -> None:
    """One weight per position, a channel, a row of a channel."""
    agree(gate, lambda x, s: x * s, draw(16), draw(16, shape=shape, seed=1))


@pytest.mark.parametrize("shape", [(N, 1, H, W), (N, None, 1, W), (N, None, H, 1)])
def test_written_out_in_a_sum(shape: Sequence[int | None]) -> None:
    """`whole` broadcasts, and its gradient is summed to the shape."""
    agree(lambda s, x: materialize_if_narrow(s, x) + x, lambda s, x: s + x, draw(16, shape=shape, seed=1), draw(16))


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_max_and_mean(dim: int) -> None:
    """Both, stacked along their axis."""

    def plain(x: Tensor) -> Tensor:
        return torch.cat((x.amax(dim, keepdim=True), x.mean(dim, keepdim=True)), dim)

    agree(lambda x: max_mean(x, dim), plain, draw(16))


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_equal_maxima_share_the_gradient(dim: int) -> None:
    """Evenly, as on any other map."""
    x = torch.zeros_like(draw(16)).requires_grad_()
    max_mean(x, dim).select(dim, 0).sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad.float(), torch.full(x.shape, 1 / x.shape[dim]), rtol=1e-2, atol=0)


@pytest.mark.parametrize("dim", [2, 3])
def test_means(dim: int) -> None:
    """Over one axis, and over both."""
    agree(lambda x: axis_mean(x, dim), lambda x: x.mean(dim, keepdim=True), draw(16))
    agree(spatial_mean, lambda x: x.mean((2, 3)), draw(16))


def test_gradient_of_a_mean_is_a_whole_map() -> None:
    """Laid out as x; that of a wide map stays a view."""
    seen: list[tuple[int, ...]] = []
    x = draw(16).requires_grad_()
    x.register_hook(lambda g: seen.append(g.stride()))
    spatial_mean(x).sum().backward()
    assert seen == [x.stride()]
    wide = draw(64)
    assert dense_gradient(wide) is wide


def test_a_whole_gradient_passes_as_it_is() -> None:
    """Nothing is done to a gradient that is no view."""
    x = draw(16).requires_grad_()
    (2 * dense_gradient(x)).sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, torch.full_like(x, 2))
