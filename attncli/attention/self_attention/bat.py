"""BAT (bilinear attentional transform): rows and columns of a narrowed map are mixed by two small learned matrices.

    u = relu(BN(1x1 x))                                  (N, C / r, H, W)
    t = relu(BN(1x1 u))                                  (N, g, H, W), one map per group
    P: maximum of t over cells to (s, 1), conv s x 1,    sigmoid, rows divided by their sums     (N, g, s, s)
    Q: maximum of t over cells to (1, s), conv 1 x s,    sigmoid, columns divided by their sums  (N, g, s, s)
    Y = (P x I) u (Q x I) in each group of channels      P, Q act on cells, x I on each place inside a cell
    y = x + dropout(relu(BN(1x1 relu(BN(1x1 Y)))))       (N, C, H, W), whole channels are dropped

r 2, s 7, g 4, dropout 0.2. All convolutions have biases; those before a norm are dead. Learns, with i = C / r,
C i + 3 i, i g + 3 g, 2 s^2 g (g s + 1), i^2 + 3 i and i C + 3 C numbers. Cost: four 1x1 convolutions and 2 s i HW
multiply-adds. Weights are Kaiming normal (fan out), norms 1 and 0: not the identity at the start.

Where the sources differ: timm has r 4, two groups and no biases, and refuses other map sizes. The official code takes
the enlargement of Q from the height, so that only square maps work; here from the width.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attncli.attention.card import Card
from attncli.attention.channel_groups import choose_groups
from attncli.attention.observation import Observation

card = Card(
    title="Non-Local Neural Networks With Grouped Bilinear Attentional Transforms",
    venue="CVPR",
    year=2020,
    arxiv=None,
    site="stage",
    sites=("head", "block-input"),
    code="BA-Transform/BAT-Image-Classification@89488d3 model_zoo/non_local.py",
    stages=(2, 3),
    blocks=(2, 4, 6),
    dead=("reduce.0.bias", "group.0.bias", "mix.0.bias", "expand.0.bias"),
    dead_because="a norm follows each and takes it away",
    floor="s is the largest common divisor of H and W up to `cells`, g the largest divisor of C / r up to `groups`",
    notes=(
        "Two blocks in stage 2 and three in stage 3 of a ResNet-50, as in the paper.",
        "Bound to multiples of s: other map sizes are refused.",
        "It is not the identity at the start: in a pretrained network it disturbs what was learnt.",
    ),
    aliases=("bilinear", "BATBlock", "BatNonLocalAttn", "bilinear-attentional-transform"),
)


class Attention(nn.Module):
    """(N, C, H, W) -> (N, C, H, W). `reduction` is r, `cells` s, `groups` g.

    Raises ValueError for widths below 1 or a dropout outside of 0 to 1, and in forward if s does not divide the map.
    """

    def __init__(
        self,
        channels: int,
        size: tuple[int, int],
        *,
        reduction: int = 2,
        cells: int = 7,
        groups: int = 4,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        if min(reduction, cells, groups) < 1 or not 0 <= dropout < 1:
            raise ValueError(f"{reduction=}, {cells=}, {groups=}, {dropout=}: at least 1, and a share below 1")
        narrow = max(channels // reduction, 1)
        self.cells = s = choose_groups(math.gcd(*size), cells)
        self.groups = g = choose_groups(narrow, groups)
        self.reduce, self.group = _make_layer(channels, narrow), _make_layer(narrow, g)
        self.rows = nn.Conv2d(g, g * s * s, (s, 1))
        self.columns = nn.Conv2d(g, g * s * s, (1, s))
        self.mix, self.expand = _make_layer(narrow, narrow), _make_layer(narrow, channels)
        self.dropout = nn.Dropout2d(dropout)
        for conv in (m for m in self.modules() if isinstance(m, nn.Conv2d)):
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Add to x what its cells exchange."""
        u = self.reduce(x)
        y = self.expand(self.mix(self.transform(u, *self.compute_matrices(u))))
        return x + self.dropout(y)

    def compute_matrices(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return P, whose rows sum to 1, and Q, whose columns do: each (N, g, s, s)."""
        if u.shape[2] % self.cells or u.shape[3] % self.cells:
            raise ValueError(f"{self.cells} cells a side do not divide a map of {u.shape[2]}x{u.shape[3]}")
        t, s = self.group(u), self.cells

        def read(conv: nn.Conv2d, size: tuple[int, int], axis: int) -> Tensor:
            logits = conv(F.adaptive_max_pool2d(t, size)).view(t.shape[0], self.groups, s, s)
            return F.logsigmoid(logits).softmax(axis)  # the sigmoids over their sum, also where all round to 0

        return read(self.rows, (s, 1), 3), read(self.columns, (1, s), 2)

    def transform(self, u: Tensor, p: Tensor, q: Tensor) -> Tensor:
        """Return Y, (N, i, H, W)."""
        s, (h, w) = self.cells, u.shape[2:]
        cells = u.unflatten(1, (self.groups, -1)).unflatten(4, (s, w // s)).unflatten(3, (s, h // s))
        y = torch.einsum("ngab,ngcbrdt->ngcardt", p.to(u.dtype), cells)
        y = torch.einsum("ngcardt,ngde->ngcaret", y, q.to(y.dtype))
        return y.reshape(u.shape)

    def observe(self, inputs: tuple[Tensor, ...], output: Tensor) -> list[Observation]:
        """Return what rows of cells take from each other, and columns, the mean of the groups."""
        p, q = self.compute_matrices(self.reduce(inputs[0]))
        return [
            Observation("affinity", "rows of cells taken from", p.mean(1)),
            Observation("affinity", "columns of cells taken from", q.transpose(2, 3).mean(1)),
        ]


def _make_layer(c_in: int, c: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(c_in, c, 1), nn.BatchNorm2d(c), nn.ReLU())
