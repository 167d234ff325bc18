"""Groups of channels: how many there can be, and a norm that takes groups of a single value."""

import torch
from torch import Tensor, nn


def choose_groups(channels: int, most: int) -> int:
    """Return the largest divisor of `channels` that is at most `most`. Raises ValueError if either is below 1."""
    if min(channels, most) < 1:
        raise ValueError(f"{channels} channels in at most {most} groups: both must be at least 1")
    return next(groups for groups in range(min(channels, most), 0, -1) if channels % groups == 0)


def normalize_groups(x: Tensor, norm: nn.Module) -> Tensor:
    """Return what the GroupNorm `norm` makes of x, (N, C, ...), also for groups of one value, which become the bias.

    nn.GroupNorm raises ValueError for a single sample whose groups have one value, as on a map of one position.
    """
    assert isinstance(norm, nn.GroupNorm)
    return torch.group_norm(x, norm.num_groups, norm.weight, norm.bias, norm.eps)
