"""GAM (global attention mechanism): an MLP at each position, then two 7x7 convolutions, each gating the map.

    m = V relu(U x_p + u) + v                            (N, C, H, W), at each position p on its own, C / r units
    x' = x * m
    n = BN(conv7x7(relu(BN(conv7x7(x')))))               (N, C, H, W), C / r channels in between
    y = x' * sigmoid(n)

Both convolutions have biases. Learns 2 C h + h + C and 98 C h / g + 3 h + 3 C numbers, h = C / r. Cost: 100 C^2 / r HW
multiply-adds: at r 4 more than the bottleneck itself (resnet50: 529 M parameters). A published CIFAR-100 row has r 16.

Where the sources differ: the authors' code was not to be had, and its ports differ. `channel_gate="sigmoid"` squashes m
(one port; two multiply by m itself, as here). `padding="replicate"` repeats the border (one port). `groups` makes both
convolutions grouped, and `shuffle` mixes the finished map over so many groups (one port: 4).
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attncli.attention.card import Card
from attncli.attention.observation import Observation
from attncli.attention.ops import gate

card = Card(
    title="Global Attention Mechanism: Retain Information to Enhance Channel-Spatial Interactions",
    venue="arXiv",
    year=2021,
    arxiv="2112.05561",
    site="gate",
    sites=("mid", "pre-norm", "block-input", "stage", "head"),
    code="dengbuqi/GAM_Pytorch@f09c9df CAM.py (a port)",
    dead=("conv_in.bias", "conv_out.bias"),
    dead_because="a norm follows each and takes it away",
    floor="h = max(C // reduction, groups)",
    notes=(
        "Large: with r 4 resnet50 has 529 M parameters, with r 16 151 M. Name reduction and groups with a result.",
        "Compare it with a plain network of its size, too.",
    ),
    aliases=("GAMAttention", "GAM_Attention", "global-attention-mechanism"),
)


class Attention(nn.Module):
    """(N, C, H, W) -> (N, C, H, W). `reduction` is r, `kernel` the side of the convolutions.

    Raises ValueError for an unknown gate or padding, an even kernel, or groups that do not divide the widths.
    """

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 4,
        kernel: int = 7,
        groups: int = 1,
        shuffle: int = 1,
        channel_gate: Literal["none", "sigmoid"] = "none",
        padding: Literal["zeros", "replicate"] = "zeros",
    ) -> None:
        super().__init__()
        if channel_gate not in ("none", "sigmoid") or padding not in ("zeros", "replicate"):
            raise ValueError(f"{channel_gate=}, {padding=}: none or sigmoid; zeros or replicate")
        if min(reduction, groups, shuffle) < 1 or kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"{reduction=}, {groups=}, {shuffle=}, {kernel=}: at least 1, and the kernel odd")
        hidden = max(channels // reduction, groups)
        if channels % groups or hidden % groups or channels % shuffle:
            raise ValueError(
                f"{groups} groups, shuffled by {shuffle}, do not divide {channels} channels or {hidden} units"
            )
        self.squashes, self.shuffle = channel_gate == "sigmoid", shuffle
        self.reduce, self.expand = nn.Conv2d(channels, hidden, 1), nn.Conv2d(hidden, channels, 1)
        self.conv_in, self.conv_out = (
            nn.Conv2d(*widths, kernel, padding=kernel // 2, groups=groups, padding_mode=padding)
            for widths in ((channels, hidden), (hidden, channels))
        )
        self.norm_in, self.norm_out = nn.BatchNorm2d(hidden), nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Weigh x by its own position, then by its surroundings."""
        x = x * self.compute_channel_gate(x).to(x.dtype)
        return gate(x, self.compute_spatial_gate(x))

    def compute_channel_gate(self, x: Tensor) -> Tensor:
        """Return m, (N, C, H, W)."""
        m: Tensor = self.expand(F.relu(self.reduce(x)))
        return torch.sigmoid(m) if self.squashes else m

    def compute_spatial_gate(self, x: Tensor) -> Tensor:
        """Return the sigmoid of n, (N, C, H, W)."""
        n = self.norm_out(self.conv_out(F.relu(self.norm_in(self.conv_in(x)))))
        s = torch.sigmoid(n)
        return s if self.shuffle == 1 else s.unflatten(1, (self.shuffle, -1)).transpose(1, 2).flatten(1, 2)

    def observe(self, inputs: tuple[Tensor, ...], output: Tensor) -> list[Observation]:
        """Return both gates."""
        m = self.compute_channel_gate(inputs[0])
        spatial = self.compute_spatial_gate(inputs[0] * m)
        return [
            Observation("gate", "factor from the position itself", m),
            Observation("gate", "weight from its surroundings", spatial),
        ]
