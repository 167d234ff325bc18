"""SA (shuffle attention): half of each group of channels is weighed by its means, half by its positions.

    x in G groups of two halves of k = C / (2 G) channels, (N, G, 2, k, H, W)
    first half:    y = x * sigmoid(cw * mean(x) + cb)                    a number per channel
    second half:   y = x * sigmoid(sw * IN(x) + sb)                      a number per channel and position
    then the C channels are shuffled: output 2 i + j is channel j C/2 + i

IN normalises each channel of a sample over its positions and has a weight and a bias of its own. cw, cb, sw, sb and
these two have length k and serve all groups. Learns 3 C / G numbers. Cost: one mean, one norm, two products over x
and a permutation. cw = sw = 0 and cb = sb = 1 at the start: y is 0.731 times the shuffled x, not the identity.

Where the sources differ: the paper speaks of 300 parameters in a ResNet-50, the official code has 708; `norm_affine`
switches off the norm's own weight and bias, which double sw and sb (472 then). A much copied port has G = 8.
`shuffle=False` leaves the channels in their order, for pretrained networks and as an ablation.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attncli.attention.card import Card
from attncli.attention.channel_groups import choose_groups
from attncli.attention.observation import Observation
from attncli.attention.ops import keep_layout, match_layout

card = Card(
    title="SA-Net: Shuffle Attention for Deep Convolutional Neural Networks",
    venue="ICASSP",
    year=2021,
    arxiv="2102.00240",
    site="gate",
    sites=("pre-norm", "mid", "block-input", "stage", "head"),
    code="wofmanaf/SA-Net@00a6760 models/sa_resnet.py",
    no_weight_decay=("channel_weight", "channel_bias", "spatial_weight", "spatial_bias"),
    floor="G is the largest divisor of C / 2 up to `groups`; C must be even; on a 1 x 1 map the norm is constant",
    notes=(
        "It starts as 0.731 times a permutation of its input: in a pretrained network it destroys what was learnt "
        "unless model.options.shuffle=false.",
    ),
    aliases=("shuffle", "shuffle-attention", "sa_layer", "SANet"),
)


class Attention(nn.Module):
    """(N, C, H, W) -> (N, C, H, W). `groups` is G. Raises ValueError for an odd C or fewer than one group."""

    def __init__(self, channels: int, *, groups: int = 64, norm_affine: bool = True, shuffle: bool = True) -> None:
        super().__init__()
        if channels % 2:
            raise ValueError(f"{channels} channels have no two halves")
        self.groups, self.shuffle = choose_groups(channels // 2, groups), shuffle
        k = channels // (2 * self.groups)
        self.channel_weight, self.channel_bias = nn.Parameter(torch.zeros(k)), nn.Parameter(torch.ones(k))
        self.spatial_weight, self.spatial_bias = nn.Parameter(torch.zeros(k)), nn.Parameter(torch.ones(k))
        self.norm = nn.GroupNorm(k, k, affine=norm_affine)

    def forward(self, x: Tensor) -> Tensor:
        """Weigh both halves of each group, then shuffle."""
        first, second = self.split_halves(keep_layout(x))
        channel, spatial = self.compute_gates(first, second)
        y = torch.stack((first * channel, second * spatial), 2).flatten(1, 3)  # (N, C, H, W)
        y = y.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2) if self.shuffle else y
        return match_layout(y, x)

    def split_halves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the halves of the groups, each (N, G, k, H, W)."""
        first, second = x.unflatten(1, (self.groups, 2, -1)).unbind(2)
        return first, second

    def compute_gates(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gates of both halves: (N, G, k, 1, 1) and (N, G, k, H, W)."""

        def scale(t: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
            logits = torch.addcmul(bias[:, None, None], t, weight[:, None, None])
            return torch.sigmoid(logits).to(t.dtype)

        normalised = F.group_norm(
            second.flatten(0, 1), self.norm.num_groups, self.norm.weight, self.norm.bias, self.norm.eps
        ).view_as(second)
        channel = scale(first.mean((3, 4), keepdim=True), self.channel_weight, self.channel_bias)
        return channel, scale(normalised, self.spatial_weight, self.spatial_bias).to(second.dtype)

    def observe(self, inputs: tuple[Tensor, ...], output: Tensor) -> list[Observation]:
        """Return the gates of both halves of the groups, before the shuffle."""
        channel, spatial = (s.flatten(1, 2) for s in self.compute_gates(*self.split_halves(inputs[0])))
        return [
            Observation("gate", "first half: weight of each channel", channel),
            Observation("gate", "second half: weight of each value", spatial),
        ]
