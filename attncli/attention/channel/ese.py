"""eSE (effective squeeze-excitation): each channel is weighed by one layer that sees the means of all channels.

    z = mean of x over H, W                              (N, C)
    s = relu6(W z + b + 3) / 6                           (N, C), W: (C, C), no bottleneck
    y = x * s                                            (N, C, H, W)

Learns C^2 + C numbers. Cost: one mean and one product over x. Default initialisation of the layer: the gate starts
near one half. A logit of 3 or more lets a channel pass unchanged, -3 or less shuts it, and there the gradient is zero.

Where the sources differ: one collection has a plain sigmoid (`gate="sigmoid"`), which is SE-Var3 of the ECA paper with
a bias: `se` with layers=full, bias=true. VoVNet has it on its own, narrower maps; at the end of a bottleneck's branch
C^2 is 4.2 M in the last stage.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attncli.attention import ops
from attncli.attention.card import Card

card = Card(
    title="CenterMask: Real-Time Anchor-Free Instance Segmentation",
    venue="CVPR",
    year=2020,
    arxiv="1911.06667",
    site="gate",
    sites=("pre-norm", "mid", "block-input", "stage", "head"),
    code="youngwanLEE/vovnet-detectron2@b81c813 vovnet/vovnet.py",
    notes=("At the site gate it adds 20 M parameters to ResNet-50, at mid 1.3 M: half of SE's.",),
    aliases=("effective-se", "EffectiveSEModule", "eSEModule", "effectivese"),
)


class Attention(nn.Module):
    """(N, C, H, W) -> (N, C, H, W). Raises ValueError for an unknown gate."""

    def __init__(self, channels: int, *, gate: Literal["hard_sigmoid", "sigmoid"] = "hard_sigmoid") -> None:
        super().__init__()
        if gate not in ("hard_sigmoid", "sigmoid"):
            raise ValueError(f"{gate=}: hard_sigmoid or sigmoid")
        self.is_hard = gate == "hard_sigmoid"
        self.layer = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Weigh the channels of x."""
        logits = self.layer(ops.spatial_mean(x))
        # not F.hardsigmoid, whose gradient has a single-precision factor in float64 too
        return ops.gate(x, F.relu6(logits + 3) / 6 if self.is_hard else torch.sigmoid(logits))
