"""BAM: a channel map and a dilated spatial map, added into one gate between the stages of a network.

    c = W1 relu(BN(W0 mean_hw(x) + b0)) + b1                                          (N, C)
    s = conv1(relu(BN(conv3_d(... relu(BN(conv1(x)))))))                              (N, 1, H, W)
    y = x * (1 + sigmoid(c + s))                                                      (N, C, H, W)

Both branches are h = C / r wide; the spatial one has two 3x3 convolutions of dilation d between its 1x1 ones. All
layers have biases. Learns 3Ch + 18h^2 + 13h + C + 1 numbers by default. Cost: one 1x1 convolution to h channels.
The factor lies in (1, 2): the block amplifies, it never weakens, and starts near 1.5, not at the identity.
`branches` keeps one of the two maps, which is then the whole of the sum.

Where the sources differ: the paper adds the two maps and its ablation ranks the sum first; the released code
multiplies them (`combine="product"`), and its ResNet-50 weights fit the product. The paper writes one norm at the
end of a branch; the code has one after every hidden layer, as here. The code pools over (H, H), which is wrong
unless the map is square: we pool all of it. Some ports use PReLU, three layers and dilation 2.
"""

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from attncli.attention.axis_reductions import memory_order, usual_order
from attncli.attention.card import Card
from attncli.attention.observation import Observation
from attncli.attention.ops import spatial_mean

card = Card(
    title="BAM: Bottleneck Attention Module",
    venue="BMVC",
    year=2018,
    arxiv="1807.06514",
    site="stage",
    sites=("gate", "mid", "block-input", "head"),
    stages=(1, 2, 3),
    blocks=(-1,),
    cifar_stages=(1, 2),
    cifar_blocks=(-1,),
    code="Jongchan/attention-module@459efad MODELS/bam.py",
    dead=("channel.0.bias", "spatial.0.bias", "spatial.3.bias", "spatial.6.bias"),
    dead_because="a norm follows each and takes it away",
    floor="hidden width max(C // reduction, 1): 1 at C = 16",
    aliases=("bottleneck-attention",),
    notes=(
        "The norm of the channel branch sees one value per sample: training needs batches of two or more.",
        "On maps smaller than 9 x 9 the convolutions of dilation 4 read mostly padding.",
        "The published ResNet-50 figure of the official README (76.86) is that of combine=product.",
    ),
)


class Attention(nn.Module):
    """(N, C, H, W) -> (N, C, H, W). Raises ValueError for sizes or counts below 1, and for unknown names."""

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 16,
        num_layers: int = 1,
        dilation_conv_num: int = 2,
        dilation: int = 4,
        combine: Literal["sum", "product"] = "sum",
        branches: Literal["both", "channel", "spatial"] = "both",
    ) -> None:
        super().__init__()
        if combine not in ("sum", "product"):
            raise ValueError(f"combine={combine!r}: sum (the paper) or product (the released code)")
        if branches not in ("both", "channel", "spatial"):
            raise ValueError(f"branches={branches!r}: both, channel or spatial")
        if min(reduction, dilation) < 1 or min(num_layers, dilation_conv_num) < 0:
            raise ValueError("reduction and dilation are 1 or more, num_layers and dilation_conv_num 0 or more")
        self.combine = combine
        h = max(channels // reduction, 1)
        self.channel = _make_channel_branch(channels, [h] * num_layers) if branches != "spatial" else None
        self.spatial = _make_spatial_branch(channels, h, dilation_conv_num, dilation) if branches != "channel" else None
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out")
            if isinstance(m, nn.Conv2d | nn.Linear) and m.bias is not None:
                nn.init.zeros_(m.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Amplify every value of x by the gate of its channel and position."""
        joined = self.join_maps([memory_order(t, x) for t in self.compute_maps(x).values()])
        t = memory_order(x, x)
        return usual_order(torch.addcmul(t, t, torch.sigmoid(joined)), x)

    def compute_maps(self, x: Tensor) -> dict[str, Tensor]:
        """Return c, (N, C, 1, 1), and s, (N, 1, H, W), or the one that is there, by branch."""
        maps = {}
        if self.channel is not None:
            maps["channel"] = self.channel(spatial_mean(x))[:, :, None, None]
        if self.spatial is not None:
            maps["spatial"] = self.spatial(x)
        return maps

    def join_maps(self, maps: list[Tensor]) -> Tensor:
        """Return the sum or the product of the maps."""
        if len(maps) == 1:
            return maps[0]
        return maps[0] + maps[1] if self.combine == "sum" else maps[0] * maps[1]

    def observe(self, inputs: tuple[Tensor, ...], output: Tensor) -> list[Observation]:
        """Return the factor on the map, and the map of each branch before both are joined and squashed."""
        maps = self.compute_maps(inputs[0])
        factors = 1 + torch.sigmoid(self.join_maps(list(maps.values())))
        branches = [Observation("gate", f"{name} branch, before the sigmoid", t) for name, t in maps.items()]
        return [Observation("gate", "factor of both branches", factors), *branches]


def _make_channel_branch(channels: int, hidden: list[int]) -> nn.Sequential:
    """Return the branch (N, C) -> (N, C): hidden layers, each with norm and ReLU, then the last layer."""
    layers: list[nn.Module] = []
    for wide, narrow in pairwise([channels, *hidden]):
        layers += [nn.Linear(wide, narrow), nn.BatchNorm1d(narrow), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear([channels, *hidden][-1], channels))


def _make_spatial_branch(channels: int, h: int, convolutions: int, dilation: int) -> nn.Sequential:
    """Return the branch (N, C, H, W) -> (N, 1, H, W): 1x1 to h channels, dilated 3x3, 1x1 to one."""
    layers: list[nn.Module] = [nn.Conv2d(channels, h, 1), nn.BatchNorm2d(h), nn.ReLU()]
    for _ in range(convolutions):
        dilated = nn.Conv2d(h, h, 3, padding=dilation, dilation=dilation)
        layers += [dilated, nn.BatchNorm2d(h), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(h, 1, 1))
