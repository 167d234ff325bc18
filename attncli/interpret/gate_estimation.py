"""Estimate gates from inputs and outputs, and split them into factors of channels and of places."""

import torch
from torch import Tensor

SAME_SHARE = 1e-3  # factors that differ by less than this share of their size are the same
LARGE_FACTOR, FEW_SHARE = 10.0, 1e-3  # no gate multiplies more than a few values by more than that
TINY = 1e-12
GATE, SIZE = "gate", "size of what comes out over what went in"  # what the factors of `estimate_gate` are


def estimate_gate(x: Tensor, y: Tensor, what: str | None = None) -> tuple[str, Tensor]:
    """Return (what it is, factors) of a module that maps x to y, both (N, C, H, W).

    The factors are s in y = s x, (N, C, H, W). At zeros of x, s is unknown and the least-squares factor of the channel
    is used; for a channel of zeros, that of all channels.
    If the module is no gate (it makes values from zeros), the result is the norm of y over that of x at each place,
    (N, 1, H, W).
    Which of the two it is follows from this batch; `what` is the answer of an earlier batch, which stays.
    """
    if what == SIZE:
        return SIZE, _compare_sizes(x.cpu().double(), y.cpu().double())
    x, y = x.cpu().double(), y.cpu().double()  # Apple's GPUs have no float64
    is_known = x.abs() > 1e-6 * x.abs().amax((1, 2, 3), keepdim=True).clamp_min(TINY)
    channel_factors, image_factors = _least_squares(x, y, (2, 3)), _least_squares(x, y, (1, 2, 3))
    channel_factors = torch.where(
        is_known.any(3, keepdim=True).any(2, keepdim=True), channel_factors, image_factors
    ).expand_as(x)
    s = torch.where(is_known, y / torch.where(is_known, x, 1.0), channel_factors)
    if what == GATE or (s.abs() > LARGE_FACTOR).double().mean() <= FEW_SHARE:
        return GATE, s.float()
    return SIZE, _compare_sizes(x, y)


def _compare_sizes(x: Tensor, y: Tensor) -> Tensor:
    """Return the norm of y over that of x at each place, (N, 1, H, W)."""
    sizes = y.square().sum(1, keepdim=True) / x.square().sum(1, keepdim=True).clamp_min(TINY)
    return sizes.sqrt().float()


def _least_squares(x: Tensor, y: Tensor, axes: tuple[int, ...]) -> Tensor:
    return (x * y).sum(axes, keepdim=True) / x.square().sum(axes, keepdim=True).clamp_min(TINY)


def split_gate(s: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """Return the means of factors (N, C, H, W) over places, (N, C), and over channels, (N, H, W).

    A mean is None if nothing differs along its axis; a constant gate counts as one of channels.
    """
    size = s.abs().mean().clamp_min(TINY)
    across_places = (s - s.mean((2, 3), keepdim=True)).square().mean().sqrt() / size
    across_channels = (s - s.mean(1, keepdim=True)).square().mean().sqrt() / size
    places = s.mean(1) if across_places > SAME_SHARE else None
    channels = s.mean((2, 3)) if across_channels > SAME_SHARE or places is None else None
    return channels, places


def expand_gate(s: Tensor) -> Tensor:
    """Return factors of any shape that broadcasts to (N, C, H, W), with four axes."""
    return s[(...,) + (None,) * (4 - s.ndim)]
