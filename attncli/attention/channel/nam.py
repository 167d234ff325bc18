"""NAM (normalization-based attention): channels are weighed by the scale that a batch norm learns for them.

    u = BN(x)                                            (N, C, H, W), weight gamma, bias beta
    w_c = |gamma_c| / sum_k |gamma_k|                    positive, sums to 1; no gradient passes through it
    y = x * sigmoid(w_c u)                               (N, C, H, W)

Learns 2 C numbers. Cost: a norm, a sigmoid and a product over x. At the start w is 1 / C, so the gate is one half
everywhere to within a share of 1 / C, and stays near it until gamma becomes very uneven. An L1 penalty on gamma,
1e-4 with the authors' flag -sr, is meant to bring that about; attncli adds none to the loss.

Where the sources differ: only the channel half of the paper was released. The official ResNet has it after the last
norm of the branch: a norm directly after a norm.
"""

import torch
from torch import Tensor, nn

from attncli.attention.card import Card
from attncli.attention.ops import gate

card = Card(
    title="NAM: Normalization-based Attention Module",
    venue="NeurIPS Workshop",
    year=2021,
    arxiv="2111.12419",
    site="gate",
    sites=("pre-norm", "mid", "block-input", "stage", "head"),
    code="Christian-lyc/NAM@6e8d3e3 MODELS/attention.py",
    no_weight_decay=("norm",),
    notes=(
        "The branch starts halved, and little else happens at first.",
        "The paper's L1 penalty on gamma is no part of the block, and attncli's loss is the same for all mechanisms: "
        "without it this is another method.",
    ),
    aliases=("Channel_Att", "normalization-based-attention"),
)


class Attention(nn.Module):
    """(N, C, H, W) -> (N, C, H, W). `weight_gradient=True` lets the gradient pass through w, unlike the authors."""

    def __init__(self, channels: int, *, weight_gradient: bool = False) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.weight_gradient = weight_gradient

    def forward(self, x: Tensor) -> Tensor:
        """Weigh x by its own normalised values."""
        u = self.norm(x)
        return gate(x, torch.sigmoid(u * self.channel_weights()[:, None, None].to(u.dtype)))

    def channel_weights(self) -> Tensor:
        """Return w, (C,): positive, sums to 1."""
        gamma = self.norm.weight if self.weight_gradient else self.norm.weight.detach()
        return gamma.abs() / gamma.abs().sum()
