"""ECA: each channel is weighed by the means of its k nearest channels.

    z = mean of x over H, W                              (N, C)
    s = sigmoid(sum_j v_j z[c + j - (k-1)/2])            (N, C), zeros beyond the first and last channel
    y = x * s                                            (N, C, H, W)

k is odd and grows with the width: t = floor(|log2(C) + b| / gamma), k = t or t + 1 (Eq. 12 of the paper).
Learns k numbers per site, no bias, default Conv1d initialisation. Cost: one mean and one product over x.

Where the sources differ: the official class takes k as an argument (default 3); its released ResNets use one
k per stage (resnet50: `k=[3, 5, 5, 7]`, the famous 80 parameters), while the paper's rule, our default, gives 86.
Some ports give the convolution a bias; the official code and the paper do not. timm's `ceca` joins the first channel
to the last instead of padding with zeros (`circular=True`).
"""

import math

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
    aliases=("ceca circular=true", "eca-net", "eca_layer", "efficient-channel-attention"),
    notes=("The paper counts parameters in 2^20: multiply its figures by 1.048576.",),
)


class Attention(nn.Module):
    """(N, C, H, W) -> (N, C, H, W). `k` fixes the kernel, for all stages or one per stage; None takes the rule.

    `circular` joins the last channel to the first.
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
    ) -> None:
        super().__init__()
        if isinstance(k, tuple):
            if stage > len(k):
                raise ValueError(f"k={list(k)} has no entry for stage {stage}")
            k = k[stage - 1]
        k = choose_kernel_size(channels, gamma, b) if k is None else k
        if k < 1 or k % 2 == 0:
            raise ValueError(f"k={k}: the kernel over channels must be odd and positive")
        self.conv = nn.Conv1d(
            1, 1, k, padding=(k - 1) // 2, bias=False, padding_mode="circular" if circular else "zeros"
        )

    def forward(self, x: Tensor) -> Tensor:
        """Weigh the channels of x."""
        z = spatial_mean(x)  # (N, C)
        return gate(x, torch.sigmoid(self.conv(z[:, None])).squeeze(1))


def choose_kernel_size(channels: int, gamma: float = 2.0, b: float = 1.0) -> int:
    """Return the odd kernel size that grows with log2 C (ECA-Net, Eq. 12)."""
    t = int(abs((math.log2(channels) + b) / gamma))
    return t if t % 2 else t + 1
