"""FcaNet: each channel is weighed by a small network that sees one frequency of every channel.

    b_u(h) = cos(pi u (h + 1/2) / D) sqrt((1 if u = 0 else 2) / D)     orthonormal DCT-II
    z_c = sum over h, w of x_c[h, w] b_u(h) b_v(w)                     (N, C), (u, v) by the group of c
    y = x * sigmoid(W2 relu(W1 z))                                     (N, C, H, W)

The channels are split into n contiguous groups, each with its pair (u, v) from a list on a 7 x 7 grid, multiplied
by D // 7. Learns 2 C^2/r numbers per site, as SE without biases; the basis is a fixed buffer. Cost: a weighted sum
and a product over x. A map of another size than D x D is averaged to D x D first; as both steps are linear the
averaging is folded into the basis, and x is read once.

Where the sources differ: D is 56, 28, 14, 7 by stage in the official networks, which are the sizes of their maps
at 224 px. Here D is the map's own size, but at least 7 (`smallest_grid`): below, D // 7 = 0 turns all frequencies
into (0, 0) and the module into SE on a scaled mean. The official networks have 7 in their last stage whatever the
image, and average smaller maps up to it, too. `grid` fixes D, for all stages or one per stage. `basis` is the ablation
of the official README: a basis that is learned from the DCT on, one learned from random numbers, and a fixed random
one. The learned ones have C D^2 more parameters, as every channel has its own.
"""

import math
import warnings
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attncli.attention.card import Card
from attncli.attention.channel.se import hidden_width
from attncli.attention.ops import gate, weighted_sum

card = Card(
    title="FcaNet: Frequency Channel Attention Networks",
    venue="ICCV",
    year=2021,
    arxiv="2012.11879",
    site="gate",
    sites=("pre-norm", "mid", "block-input", "stage"),
    code="cfzd/FcaNet@aa5fb63 model/layer.py",
    floor="hidden width max(C // r, 1); grid at least 7 x 7; C must be divisible by n",
    aliases=("fca-net", "MultiSpectralAttentionLayer", "frequency-channel-attention"),
    notes=(
        "On maps below 7 x 7 (the last stage of a CIFAR resnet18) the map is averaged up to 7 x 7; with "
        "smallest_grid=1 it is not, all frequencies become (0, 0), and the mechanism is SE on a scaled mean.",
        "The grid is fixed at construction and saved: a checkpoint of one image size does not load for another.",
        "Released accuracies come from a stronger recipe than those of SENet and ECA-Net.",
    ),
)

# The published lists of pairs uv: best and worst by the accuracy of each frequency alone, and the lowest ones.
PAIRS = {
    "top": "00 01 60 05 02 10 12 40 50 16 30 04 06 03 35 22 46 63 33 53 55 21 61 52 54 32 31 41 23 20 65 13",
    "low": "00 01 10 11 02 20 21 12 22 03 30 40 04 13 31 05 14 23 32 41 50 06 15 24 33 42 51 60 16 25 34 43",
    "bot": "66 14 34 36 26 43 11 24 44 45 56 15 42 62 25 51 64 13 65 20 23 41 31 32 54 52 61 21 55 53 33 63",
}
BASES = ("dct", "dct-learned", "random-learned", "random")
FREQUENCIES = {name: [(int(uv[0]), int(uv[1])) for uv in pairs.split()] for name, pairs in PAIRS.items()}


class Attention(nn.Module):
    """(N, C, H, W) -> (N, C, H, W). The first `n` frequencies of the list `method`; `reduction` is r.

    `grid` is D, for all stages or one per stage; None takes the size of the map, at least `smallest_grid`.
    Raises ValueError if n does not divide C, for an unknown list or basis, or if `grid` lacks the stage.
    Warns if the grid is below 7, as the frequencies collapse there.
    """

    def __init__(
        self,
        channels: int,
        size: tuple[int, int],
        stage: int = 1,
        *,
        reduction: int = 16,
        method: Literal["top", "low", "bot"] = "top",
        n: int = 16,
        grid: int | tuple[int, ...] | None = None,
        smallest_grid: int = 7,
        basis: Literal["dct", "dct-learned", "random-learned", "random"] = "dct",
    ) -> None:
        super().__init__()
        if method not in FREQUENCIES or not 1 <= n <= 32:
            raise ValueError(f"method={method!r}, n={n}: the lists are top, low and bot, of 1 to 32 frequencies")
        if channels % n:
            raise ValueError(f"{channels} channels cannot be split evenly among n={n} frequencies")
        d = (max(size[0], smallest_grid), max(size[1], smallest_grid)) if grid is None else _resolve_grid(grid, stage)
        if min(d) < 7 and n > 1:
            warnings.warn(
                f"grid {d[0]} x {d[1]}: below 7 the frequencies collapse to (0, 0), the same as SE on a scaled mean",
                stacklevel=2,
            )
        if basis not in BASES:
            raise ValueError(f"basis={basis!r}: one of {', '.join(BASES)}")
        start = dct_basis(d, method, n).to(torch.get_default_dtype())
        if basis != "dct":  # one function per channel, not a group
            repeated = start.repeat_interleave(channels // n, 0)
            start = repeated if basis == "dct-learned" else torch.rand_like(repeated)
        self.group = channels // len(start)
        width = hidden_width(channels, reduction)
        self.basis: Tensor
        if basis.endswith("learned"):
            self.basis = nn.Parameter(start)
        else:
            self.register_buffer("basis", start)
        self.reduce = nn.Linear(channels, width, bias=False)
        self.expand = nn.Linear(width, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Weigh the channels of x."""
        return gate(x, torch.sigmoid(self.expand(F.relu(self.reduce(self.compute_spectrum(x))))))

    def compute_spectrum(self, x: Tensor) -> Tensor:
        """Return z, each channel's own frequency: (N, C, H, W) -> (N, C)."""
        basis = self.basis  # (n, D, D)
        if x.shape[2:] != basis.shape[1:]:
            pool_h, pool_w = (pooling_matrix(basis, d, to) for d, to in zip(x.shape[2:], basis.shape[1:], strict=True))
            with torch.autocast(x.device.type, enabled=False):  # which would leave 8 bits of the cosines
                basis = pool_h.mT @ basis @ pool_w  # (n, H, W)
        return weighted_sum(x, basis.repeat_interleave(self.group, 0))


def dct_basis(size: tuple[int, int], method: str = "top", n: int = 16) -> Tensor:
    """Return the n basis functions of a list on a D_h x D_w grid: (n, D_h, D_w), in float64.

    An index of the list counts on a 7 x 7 grid: it is multiplied by D // 7, each axis by its own.
    """
    rows, columns = _make_cosines(size[0]), _make_cosines(size[1])
    return torch.stack(
        [torch.outer(rows[u * (size[0] // 7)], columns[v * (size[1] // 7)]) for u, v in FREQUENCIES[method][:n]]
    )


def _make_cosines(d: int) -> Tensor:
    """Return all d orthonormal DCT-II functions of length d, one per row."""
    index = torch.arange(d, dtype=torch.float64)
    waves = torch.cos(math.pi / d * torch.outer(index, index + 0.5)) * math.sqrt(2 / d)
    waves[0] = 1 / math.sqrt(d)
    return waves


def pooling_matrix(like: Tensor, length: int, target_length: int) -> Tensor:
    """Return adaptive average pooling of an axis as a matrix, (to, length), with the type and device of `like`."""
    return F.adaptive_avg_pool1d(torch.eye(length, dtype=like.dtype, device=like.device)[None], target_length)[0].mT


def _resolve_grid(grid: int | tuple[int, ...], stage: int) -> tuple[int, int]:
    if isinstance(grid, tuple):
        if stage > len(grid):
            raise ValueError(f"grid={list(grid)} has no entry for stage {stage}")
        grid = grid[stage - 1]
    if grid < 1:
        raise ValueError(f"grid={grid}: it must be at least 1")
    return grid, grid
