"""Split attention (ResNeSt): each channel chooses between R splits of one grouped convolution.

    U = relu(BN(conv(x)))                                (N, R C, H, W), 3x3, G R groups; U_r is its r-th block of C
    z = relu(BN(W1 mean(sum_r U_r) + b1))                (N, i), i = max(C_in R // 4, 32)
    a = softmax over r of W2 z + b2                      (N, R, C), a sigmoid if R = 1; W1, W2 with G groups
    y = sum_r a_r * U_r                                  (N, C, H, W)

Stands for a 3x3 convolution with its norm and ReLU; y is never negative, so a ReLU that follows changes nothing. A
stride s becomes a 3x3 average pool, after it as in ResNeSt or before it as in its `fast` variants. Learns
9 C_in C / G + 2 R C + C i / G + 3 i + i R C / G + R C numbers: the convolution costs the same for every R. Cost: that
convolution, and R maps to weigh and add.

Where the sources differ: i counts the input's channels, and timm rounds it to a multiple of 8 (`divisor=8`). timm's
plain attention layer has no norm and stands beside a 3x3 convolution instead of in its place. A batch of one fails in
training: BN on (1, i).
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attncli.attention.card import Card
from attncli.attention.observation import Observation
from attncli.attention.ops import gate, spatial_mean

card = Card(
    title="ResNeSt: Split-Attention Networks",
    venue="CVPR Workshops",
    year=2022,
    arxiv="2004.08955",
    site="conv",
    code="zhanghang1989/ResNeSt@1dfb3e8 resnest/torch/models/splat.py",
    convs="first",
    replaces_norm=True,
    dead=("reduce.bias",),
    dead_because="a norm follows and takes it away",
    floor="i = max(C_in R // reduction, min_hidden)",
    notes=(
        "Only the block of ResNeSt: its deep stem, its pooled shortcuts and its 270 epochs are no part of it.",
        "G is that of the replaced convolution; G R must divide the channels, which depth-wise ones rule out.",
        "Training needs at least two samples in a batch.",
    ),
    aliases=("splitattn", "split-attention", "SplitAttn", "SplAtConv2d", "ResNeSt", "S2-attention"),
)


class Attention(nn.Module):
    """(N, C_in, H, W) -> (N, C, H', W'), H' = ceil(H / stride). `radix` is R, `pool` where the stride's pool goes.

    `pool="none"` leaves the stride in the convolution. Raises ValueError for widths that the groups do not divide.
    """

    def __init__(
        self,
        channels: int,
        channels_in: int,
        stride: int = 1,
        groups: int = 1,
        *,
        radix: int = 2,
        reduction: int = 4,
        min_hidden: int = 32,
        divisor: int = 1,
        pool: Literal["after", "before", "none"] = "after",
    ) -> None:
        super().__init__()
        if min(radix, reduction, min_hidden, divisor) < 1 or pool not in ("after", "before", "none"):
            raise ValueError(
                f"{radix=}, {reduction=}, {min_hidden=}, {divisor=}: at least 1; {pool=}: after, before, none"
            )
        hidden = max(channels_in * radix // reduction, min_hidden)
        hidden = max(int(hidden + divisor / 2) // divisor * divisor, divisor)
        if channels_in % (groups * radix) or channels % groups or hidden % groups:
            raise ValueError(
                f"{groups} groups of {radix} splits do not divide {channels_in} channels, {channels} or {hidden} units"
            )
        self.radix, self.groups, self.pool = radix, groups, pool
        stride_in_conv = stride if pool == "none" else 1
        self.conv = nn.Conv2d(
            channels_in, channels * radix, 3, stride_in_conv, padding=1, groups=groups * radix, bias=False
        )
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")
        self.norm = nn.BatchNorm2d(channels * radix)
        self.reduce = nn.Conv1d(channels, hidden, 1, groups=groups)
        self.hidden_norm = nn.BatchNorm1d(hidden)
        self.expand = nn.Conv1d(hidden, channels * radix, 1, groups=groups)
        has_pool = stride > 1 and pool != "none"
        self.down = nn.AvgPool2d(3, stride, padding=1) if has_pool else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Convolve, and let each channel weigh its splits."""
        x = self.down(x) if self.pool == "before" else x
        splits = F.relu(self.norm(self.conv(x))).chunk(self.radix, 1)
        weights = self.weigh_splits(splits).unbind(1)
        weighted = [gate(u, a) for u, a in zip(splits, weights, strict=True)]
        y = sum(weighted[1:], weighted[0])
        return self.down(y) if self.pool == "after" else y

    def weigh_splits(self, splits: tuple[Tensor, ...]) -> Tensor:
        """Return a, (N, R, C): positive; for R > 1 it sums to 1 over R."""
        s = torch.stack([spatial_mean(u) for u in splits]).sum(0)  # (N, C)
        z = F.relu(self.hidden_norm(self.reduce(s[:, :, None])))
        logits = self.expand(z).unflatten(1, (self.groups, self.radix, -1)).transpose(1, 2).flatten(2)  # (N, R, C)
        return (torch.sigmoid(logits) if self.radix == 1 else logits.softmax(1)).to(s.dtype)

    def observe(self, inputs: tuple[Tensor, ...], output: Tensor) -> list[Observation]:
        """Return the weights of the splits."""
        x = self.down(inputs[0]) if self.pool == "before" else inputs[0]
        weights = self.weigh_splits(F.relu(self.norm(self.conv(x))).chunk(self.radix, 1))
        names = tuple(f"split {r + 1}" for r in range(self.radix))
        return [Observation("choice", "weight of each split", weights, names=names)]
