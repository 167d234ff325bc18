"""AA (attention-augmented convolution): a tenth of a convolution's outputs comes from attention over the map.

    conv3x3(x)                                           (N, C - dv, H', W')
    q, k, v = 1x1 of x with biases                       h heads of dk / h, dk / h and dv / h
    score of query (i, j) and key (a, c) = (q . k + q . (R_h[a - i] + R_w[c - j])) / sqrt(dk / h)
    y = [conv3x3(x) ; W_o (softmax over keys of the scores, times v) + b_o]                      (N, C, H', W')

dv = 0.1 C and dk = 0.2 C, to the nearest multiple of 8, with at least 20 numbers of a key per head (Section 3 of the
paper); 8 heads. Tables have 2 size - 1 rows of dk / h, shared by the heads. Stands for a 3x3 convolution, its norm and
ReLU stay. Maps of more than 14 positions a side are averaged to at most that for the attention, and its output is
resized. Learns 9 C_in (C - dv) + (C - dv), (C_in + 1)(2 dk + dv), dv^2 + dv and 2 (H + W - 1) dk / h numbers.

Where the sources differ: no code but an appendix was published. Two ports reshape the result of the attention so that
channels and positions mix, and let narrow stages have 3 numbers per head (`min_key_width=1`: 25.12 M on ResNet-50, as
published by one; with 20 it is 25.79 M, the paper's 25.8 M). One pools stage 2 with its convolution, not only the
attention. Host convolutions with groups are replaced by a dense one.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attncli.attention.card import Card
from attncli.attention.cell_mean import mean_of_cells
from attncli.attention.observation import Observation
from attncli.attention.relative_attention import RelativePositions, score_pairs, split_heads, sum_values

card = Card(
    title="Attention Augmented Convolutional Networks",
    venue="ICCV",
    year=2019,
    arxiv="1904.09925",
    site="conv",
    code="d-li14/dot-product-attention@c0efdea aanet/self_attention.py, its reshape put right",
    stages=(2, 3, 4),
    floor="dv and dk are at least a multiple of the heads; dv is at most C; on a 1 x 1 map its attention is constant",
    notes=(
        "Bound to the size of the map: a model built for one image size takes no other.",
        "Its convolutions have biases in front of a norm, as in the ports.",
    ),
    aliases=("aanet", "attention-augmented", "AAConv2d", "AugmentedConv"),
)


class Attention(nn.Module):
    """(N, C_in, H, W) -> (N, C, H', W'), H' = ceil(H / stride). `kappa` is dk / C, `upsilon` dv / C.

    `max_side` is the largest side of the map that is attended to. Raises ValueError for shares that are not positive,
    widths below 1, or more outputs of attention than channels; in forward for a map of another size.
    """

    def __init__(
        self,
        channels: int,
        channels_in: int,
        size: tuple[int, int],
        stride: int = 1,
        *,
        kappa: float = 0.2,
        upsilon: float = 0.1,
        heads: int = 8,
        min_key_width: int = 20,
        relative: bool = True,
        max_side: int = 14,
    ) -> None:
        super().__init__()
        if min(heads, min_key_width, max_side) < 1 or min(kappa, upsilon) <= 0:
            raise ValueError(f"{kappa=}, {upsilon=}, {heads=}, {min_key_width=}, {max_side=}: all must be positive")
        keys = max(round_to_multiple(channels * kappa, heads), heads * min_key_width)
        values = round_to_multiple(channels * upsilon, heads)
        if values > channels:
            raise ValueError(f"{values} outputs of attention are more than {channels} channels: choose fewer heads")
        self.size, self.stride, self.heads, self.widths = tuple(size), stride, heads, (keys, keys, values)
        outputs = [-(-side // stride) for side in size]
        self.shrink = -(-max(outputs) // max_side)
        self.conv = nn.Conv2d(channels_in, channels - values, 3, stride, padding=1) if values < channels else None
        self.qkv = nn.Conv2d(channels_in, sum(self.widths), 1, stride)
        self.out = nn.Conv2d(values, values, 1)
        self.positions = None
        if relative:
            height, width = (-(-side // self.shrink) for side in outputs)
            self.positions = RelativePositions((height, width), keys // heads, 1.0)

    def forward(self, x: Tensor) -> Tensor:
        """Join the convolution's outputs and those of the attention."""
        weights, v = self.attend(x)
        h, w = (-(-side // self.stride) for side in x.shape[2:])
        small = [-(-side // self.shrink) for side in (h, w)]
        attended = sum_values(weights, v).transpose(2, 3).reshape(x.shape[0], -1, *small)
        attended = self.out(attended)
        if self.shrink > 1:
            attended = F.interpolate(attended, (h, w), mode="bilinear")
        return attended if self.conv is None else torch.cat((self.conv(x), attended), 1)

    def attend(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weights, (N, heads, L, L), and the values, (N, heads, L, dv / heads), for L positions."""
        if tuple(x.shape[2:]) != self.size:
            built, got = ("x".join(map(str, size)) for size in (self.size, x.shape[2:]))
            raise ValueError(f"built for {built} maps, and got {got}")
        qkv = self.qkv(x)
        qkv = mean_of_cells(qkv, self.shrink) if self.shrink > 1 else qkv
        q, k, v = (split_heads(t, self.heads) for t in qkv.split(self.widths, 1))
        return score_pairs(q, k.flatten(2, 3), self.positions), v.flatten(2, 3)

    def observe(self, inputs: tuple[Tensor, ...], output: Tensor) -> list[Observation]:
        """Return what positions attend to, the mean of the heads."""
        h, w = (-(-side // (self.stride)) for side in inputs[0].shape[2:])
        size = (-(-h // self.shrink), -(-w // self.shrink))
        weights = self.attend(inputs[0])[0].mean(1)
        return [Observation("affinity", "positions attended to", weights, queries=size, keys=size)]


def round_to_multiple(number: float, multiple: int) -> int:
    """Return the multiple nearest to a number, at least the first."""
    return max(math.floor(number / multiple + 0.5), 1) * multiple
