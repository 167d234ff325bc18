"""timm's blocks, set up to compute the same as attncli's defaults, to compare speed and output (extra `timm`).

Its GatherExcite is left out: up to timm 1.0.31 the form with parameters cannot be built (TypeError in create_conv2d).
Its EfficientLocalAttn and BatNonLocalAttn are left out of the speed, because they cannot compute the same as ours.
"""

import importlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from attncli import attention


def find_timm_block(name: str, channels: int, size: tuple[int, int]) -> tuple[str, nn.Module] | None:
    """Return (name of timm's class, the block) for a mechanism, or None if timm or the block is missing."""
    if name not in _MAKERS:
        return None
    classes: dict[str, Any] = {}
    for module in ("layers", *(f"layers.{file}" for file in _FILES)):
        with suppress(ImportError):
            classes = {**vars(importlib.import_module(f"timm.{module}")), **classes}
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


def _make_global_context(kind: Any, channels: int, size: tuple[int, int]) -> nn.Module:
    """Return timm's form of the paper's sum, with the epsilon of the official code (timm's norm has 1e-6)."""
    block: nn.Module = kind(
        channels, fuse_add=True, fuse_scale=False, rd_channels=max(channels // 16, 4), init_last_zero=True
    )
    for module in block.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = 1e-5
    return block


_FILES = ("bottleneck_attn", "cbam", "coord_attn", "halo_attn", "lambda_layer")  # classes that layers does not offer
BlockMaker = Callable[[Any, int, tuple[int, int]], nn.Module]
_MAKERS: dict[str, tuple[str, BlockMaker]] = {
    "se": ("SEModule", lambda kind, c, size: kind(c, rd_divisor=1, bias=False)),
    "eca": ("EcaModule", lambda kind, c, size: kind(c)),
    "cbam": ("CbamModule", lambda kind, c, size: kind(c, rd_divisor=1)),
    "ca": ("CoordAttn", lambda kind, c, size: kind(c, rd_channels=max(c // 32, 8), bias=True)),
    "sk": ("SelectiveKernel", lambda kind, c, size: kind(c, c, split_input=False, rd_channels=max(c // 16, 32))),
    "condconv": ("CondConv2d", lambda kind, c, size: _RoutedCondConv(kind, c)),
    "self-attention": ("NonLocalAttn", lambda kind, c, size: kind(c, rd_channels=c // 2, use_scale=False)),
    "gc": ("GlobalContext", _make_global_context),
    "ese": ("EffectiveSEModule", lambda kind, c, size: kind(c)),
    "splat": (
        "SplitAttn",
        lambda kind, c, size: kind(c, rd_channels=max(c // 2, 32) // 2, norm_layer=nn.BatchNorm2d),
    ),
    "bot": ("BottleneckAttn", lambda kind, c, size: kind(c, feat_size=size, scale_pos_embed=True)),
    "halo": ("HaloAttn", lambda kind, c, size: kind(c, scale_pos_embed=True)),
    "lambda": ("LambdaLayer", lambda kind, c, size: kind(c, r=23)),
}

# How timm calls what is ours, by the beginning of a parameter's name; in place of it our name stands.
_RENAMED: dict[str, Mapping[str, str]] = {
    "se": {"fc1": "reduce", "fc2": "expand"},
    "eca": {"conv": "conv"},
    "gc": {"conv_attn": "mask", "mlp_add.fc1": "add.0", "mlp_add.norm": "add.1", "mlp_add.fc2": "add.3"},
    "ese": {"fc": "layer"},
    "splat": {"conv": "conv", "bn0": "norm", "fc1": "reduce", "bn1": "hidden_norm", "fc2": "expand"},
    "bot": {"qkv": "qkv", "pos_embed.height_rel": "positions.rows", "pos_embed.width_rel": "positions.columns"},
    "lambda": {"qkv": "qkv", "norm_q": "query_norm", "norm_v": "value_norm", "conv_lambda": "positions"},
}


def measure_output_difference(name: str, channels: int, size: tuple[int, int]) -> float | None:
    """Return how far timm's block is from attncli's default on equal weights, as a share of the largest output.

    In float64 and eval mode, at random weights. None if timm, the block, or the table of its names is missing.
    """
    timm_block = find_timm_block(name, channels, size) if name in _RENAMED else None
    if timm_block is None:
        return None
    mechanism = attention.describe_mechanism(name)
    facts = {"channels": channels, "channels_in": channels, "stride": 1, "groups": 1, "size": size, "stage": 1}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        own = attention.load_class(name)(**mechanism.select_arguments(facts))
        own = own.double().eval()
        for parameter in own.parameters():
            nn.init.normal_(parameter, std=0.1)
        theirs = timm_block[1].double().eval()
        state = own.state_dict()
        for key, value in theirs.state_dict().items():
            start = max((s for s in _RENAMED[name] if key.startswith(s)), key=len)
            value.copy_(_reshape_like(state[_RENAMED[name][start] + key.removeprefix(start)], value))
        x = torch.randn(2, channels, *size, dtype=torch.float64)
    with torch.no_grad():
        expected, got = own(x), theirs(x)
    return float((got - expected).abs().max() / expected.abs().max())


def _reshape_like(ours: Tensor, theirs: Tensor) -> Tensor:
    """Return our weights in timm's shape; the axes of a filter bank over (H, W, values) are in another order there."""
    return ours.unsqueeze(-1) if theirs.ndim == 5 else ours.reshape(theirs.shape)
