"""ECA: each channel is weighed by the means of its k nearest channels.

    z = mean of x over H, W                              (N, C)
    s = sigmoid(sum_j v_j z[c + j - (k-1)/2])            (N, C), zeros beyond the first and last channel
    y = x * s                                            (N, C, H, W)

k is odd and grows with the width: t = floor(|log2(C) + b| / gamma), k = t or t + 1 (Eq. 12 of the paper).
Learns k numbers per site, no bias, default Conv1d initialisation. Cost: one mean and one product over x.

Where the sources differ: the official class takes k as an argument (default 3); its released ResNets use one
k per stage (resnet50: `k=[3, 5, 5, 7]`, the famous 80 parameters), while the paper's rule, our default, gives 86.
Some ports give the convolution a bias; the official code and the paper do not. timm's `ceca` joins the first channel
to the last instead of padding with zeros (`circular=True`). timm's `ecam` has no paper either: a hidden layer of h
units for each channel, h near C / 8 and a multiple of 8, then the kernel over its k h numbers, both with biases
(`mlp=True`, 2h + kh + 1 numbers).
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from attncli.attention.card import Card
from attncli.attention.ops import gate, spatial_mean

card = Card(
    title="ECA-Net: Efficient Channel Attention for Deep Convolutional Neural Networks",
    venue="CVPR",
    year=2020,
    arxiv="1910.03151",
    site="gate",
    code="BangguWu/ECANet@b332f6b models/eca_module.py",
    aliases=(
        "ceca circular=true",
        "CecaModule circular=true",
        "ecam mlp=true",
        "EcaModule",
        "eca-net",
        "eca_layer",
        "efficient-channel-attention",
    ),
    notes=("The paper counts parameters in 2^20: multiply its figures by 1.048576.",),
)


class Attention(nn.Module):
    """(N, C, H, W) -> (N, C, H, W). `k` fixes the kernel, for all stages or one per stage; None takes the rule.

    `circular` joins the last channel to the first. `mlp` puts a hidden layer before the kernel.
    Raises ValueError for an even kernel, or if `k` has no entry for the stage.
    """

    def __init__(
        self,
        channels: int,
        stage: int = 1,
        *,
        k: int | tuple[int, ...] | None = None,
        gamma: float = 2.0,
        b: float = 1.0,
        circular: bool = False,
        mlp: bool = False,
    ) -> None:
        super().__init__()
        if isinstance(k, tuple):
            if stage > len(k):
                raise ValueError(f"k={list(k)} has no entry for stage {stage}")
            k = k[stage - 1]
        k = choose_kernel_size(channels, gamma, b) if k is None else k
        if k < 1 or k % 2 == 0:
            raise ValueError(f"k={k}: the kernel over channels must be odd and positive")
        mode: Literal["circular", "zeros"] = "circular" if circular else "zeros"
        h = choose_hidden_width(channels) if mlp else 1
        conv = nn.Conv1d(h, 1, k, padding=(k - 1) // 2, bias=mlp, padding_mode=mode)
        self.conv = nn.Sequential(nn.Conv1d(1, h, 1), nn.ReLU(), conv) if mlp else conv

    def forward(self, x: Tensor) -> Tensor:
        """Weigh the channels of x."""
        z = spatial_mean(x)  # (N, C)
        return gate(x, torch.sigmoid(self.conv(z[:, None])).squeeze(1))


def choose_hidden_width(channels: int) -> int:
    """Return C / 8 rounded to a multiple of 8, at least 8 and at least nine tenths of C / 8, as timm rounds."""
    h = max(8, (channels // 8 + 4) // 8 * 8)
    return h if h >= 0.9 * channels / 8 else h + 8


def choose_kernel_size(channels: int, gamma: float = 2.0, b: float = 1.0) -> int:
    """Return the odd kernel size that grows with log2 C (ECA-Net, Eq. 12)."""
    t = int(abs((math.log2(channels) + b) / gamma))
    return t if t % 2 else t + 1
