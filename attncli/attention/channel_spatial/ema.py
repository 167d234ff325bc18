"""EMA (efficient multi-scale attention): each group of channels gets a map, from a 3x3 and a strip branch.

    g: x in G groups of c = C / G channels, each group a sample of its own                       (N G, c, H, W)
    u, v = sigmoid(A mean_w(g) + b), sigmoid(A mean_h(g) + b)                                     one 1x1 A for both
    x1 = IN(g * u * v),  x2 = conv3x3(g)                                                         (N G, c, H, W)
    m = softmax_c(mean x1) . x2 + softmax_c(mean x2) . x1                                        (N G, 1, H, W)
    y = g * sigmoid(m)                                                                           (N, C, H, W)

IN normalises each channel of a sample over its positions and has a weight and a bias of length c, so mean x1 is that
bias: the first softmax is the same for every input (and is computed so). Learns 10 c^2 + 4 c numbers, shared by all
groups. Cost: 9 c C H W multiply-adds, two strip means, two weighted sums over channels.

Where the sources differ: the official default is G = 32, many copies have 8, which is 16 times the parameters. The
authors' site is that of coordinate attention. If C has no 32 as a divisor, G is its largest divisor below.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attncli.attention.axis_reductions import axis_mean
from attncli.attention.card import Card
from attncli.attention.channel_groups import choose_groups
from attncli.attention.ops import FEWEST_IMAGES, keep_layout, match_layout, spatial_mean

card = Card(
    title="Efficient Multi-Scale Attention Module with Cross-Spatial Learning",
    venue="ICASSP",
    year=2023,
    arxiv="2305.13563",
    site="gate",
    sites=("pre-norm", "mid", "block-input", "stage", "head"),
    code="YOLOonMe/EMA-attention-module@afc37ec EMA_attention_module",
    floor="G is the largest divisor of C up to `factor`; at C <= 32 a group is one channel",
    notes=(
        "The published 23.85 M of its CIFAR-100 ResNet-50 fits blocks without a shortcut convolution only; with "
        "every block it is 23.90 M.",
        "The gate starts near a half: the branch is halved.",
    ),
    aliases=("EMA_attention_module", "efficient-multi-scale-attention"),
)

NARROW = 4  # channels of a group up to which a CPU is faster with all groups at once; with one, 7 to 15 times


class Attention(nn.Module):
    """(N, C, H, W) -> (N, C, H, W). `factor` is the number of groups G. Raises ValueError if it is below 1."""

    def __init__(self, channels: int, *, factor: int = 32) -> None:
        super().__init__()
        self.groups = choose_groups(channels, factor)
        c = channels // self.groups
        self.strip = nn.Conv2d(c, c, 1)
        self.norm = nn.GroupNorm(c, c)
        self.conv = nn.Conv2d(c, c, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Weigh each position of each group."""
        g = keep_layout(x).unflatten(1, (self.groups, -1)).flatten(0, 1)  # (N G, c, H, W)
        is_narrow = x.device.type == "cpu" and g.shape[1] <= NARROW and len(x) >= FEWEST_IMAGES
        x1, x2 = self.norm(self.gate_strips(g)), self.convolve_groups(x) if is_narrow else self.conv(g)
        first = self.norm.bias.softmax(0).to(x2.dtype)  # means of x1 over positions are the bias
        second = spatial_mean(x2).softmax(1)
        m = torch.einsum("c,nchw->nhw", first, x2) + torch.einsum("nc,nchw->nhw", second.to(x1.dtype), x1)
        y = g * torch.sigmoid(m).to(g.dtype)[:, None]
        return match_layout(y.unflatten(0, (-1, self.groups)).flatten(1, 2), x)

    def convolve_groups(self, x: Tensor) -> Tensor:
        """Return x2, (N G, c, H, W), of x, (N, C, H, W): one convolution of G groups, all with the same kernels."""
        weight, bias = (t.expand(self.groups, *t.shape).flatten(0, 1) for t in self.conv.parameters())
        y = F.conv2d(x, weight, bias, padding=1, groups=self.groups)
        return y.unflatten(1, (self.groups, -1)).flatten(0, 1)

    def gate_strips(self, g: Tensor) -> Tensor:
        """Return g, (N G, c, H, W), weighed by its rows and columns."""
        rows, columns = axis_mean(g, 3), axis_mean(g, 2).transpose(2, 3)
        weights = torch.sigmoid(self.strip(torch.cat((rows, columns), 2))).to(g.dtype)
        u, v = weights.split([g.shape[2], g.shape[3]], 2)
        return g * u * v.transpose(2, 3)
