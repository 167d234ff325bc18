"""timm's blocks, set up to compute the same as attncli's defaults, to compare their speed (extra `timm`).

Its GatherExcite is left out: up to timm 1.0.31 the form with parameters cannot be built (TypeError in create_conv2d).
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn


def find_timm_block(name: str, channels: int, size: tuple[int, int]) -> tuple[str, nn.Module] | None:
    """Return (name of timm's class, the block) for a mechanism, or None if timm or the block is missing."""
    if name not in _MAKERS:
        return None
    try:
        from timm import layers
        from timm.layers import cbam, coord_attn
    except ImportError:
        return None
    classes = {**vars(cbam), **vars(coord_attn), **vars(layers)}
    title, make = _MAKERS[name]
    return (title, make(classes[title], channels, size)) if title in classes else None


class _RoutedCondConv(nn.Module):
    """timm's CondConv2d with the routing of its EfficientNet blocks, which computes the weights of the kernels."""

    def __init__(self, kind: Any, channels: int, experts: int = 8) -> None:
        super().__init__()
        self.conv = kind(channels, channels, 3, padding=1, num_experts=experts)
        self.router = nn.Linear(channels, experts)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C, H, W)."""
        mixed: Tensor = self.conv(x, self.router(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1)).sigmoid())
        return mixed


BlockMaker = Callable[[Any, int, tuple[int, int]], nn.Module]
_MAKERS: dict[str, tuple[str, BlockMaker]] = {
    "se": ("SEModule", lambda kind, c, size: kind(c, rd_divisor=1, bias=False)),
    "eca": ("EcaModule", lambda kind, c, size: kind(c)),
    "cbam": ("CbamModule", lambda kind, c, size: kind(c, rd_divisor=1)),
    "ca": ("CoordAttn", lambda kind, c, size: kind(c, rd_channels=max(c // 32, 8), bias=True)),
    "sk": ("SelectiveKernel", lambda kind, c, size: kind(c, c, split_input=False, rd_channels=max(c // 16, 32))),
    "condconv": ("CondConv2d", lambda kind, c, size: _RoutedCondConv(kind, c)),
    "self-attention": ("NonLocalAttn", lambda kind, c, size: kind(c, rd_channels=c // 2, use_scale=False)),
}
