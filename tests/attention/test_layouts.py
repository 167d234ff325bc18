"""Mechanisms whose arithmetic takes a map apart: what they return, and their gradient, lies in memory as the map does.

In another layout the norms and convolutions before and behind them take several times as long on a CPU.
"""

import pytest
import torch
from torch import nn

from attncli.attention.branch import involution
from attncli.attention.channel_spatial import ema, mca, sa
from attncli.attention.self_attention import cot, lambda_

MODULES: dict[str, tuple[nn.Module, int]] = {  # and their channels
    "sa": (sa.Attention(8), 8), "ema": (ema.Attention(8), 8), "wide ema": (ema.Attention(64), 64),
    "mca": (mca.Attention(8), 8), "cot": (cot.Attention(16, 16), 16), "involution": (involution.Attention(16, 16), 16),
    "lambda": (lambda_.Attention(8, 8), 8),
}  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_maps_keep_their_layout(name: str, layout: torch.memory_format) -> None:
    """In training, with several images."""
    module, channels = MODULES[name]
    x = torch.randn(4, channels, 4, 4).to(memory_format=layout).requires_grad_()
    y = module.to(memory_format=layout).train()(x)
    assert y.is_contiguous(memory_format=layout)
    y.square().sum().backward()
    assert x.grad is not None
    assert x.grad.is_contiguous(memory_format=layout)
