"""PSA: each position collects from, and distributes to, every other with weights that it predicts for their offsets.

Two flows, each with its own layers, on a map of h x w positions, h = (H - 1) // f + 1:

    z = relu(BN(W_r x)), resized to h x w                (N, c, h, w)
    a = W_2 relu(BN(W_1 z))                              (N, M_h M_w, h, w), M_h = 2 h - 1: a logit for each offset
    L_ji = a_i[j - i] (collect), L_ij = a_i[j - i] (distribute); P = softmax of L over its first index, the source
    o_i = sum_j z_j P_ji                                 (N, c, h, w)

    u = relu(BN(W_p [o_collect; o_distribute])), resized to H x W        (N, C, H, W)
    y = W_o [x; u]                                       (N, C, H, W)

The official module returns [x; u], 2 C channels, to a segmentation head made for them (`output="concat"`); W_o, a
1x1 convolution without bias, lets a network's classifier stay as it is (`output="project"`, the default). Learns,
per flow, C c + 2 c + c^2 + 2 c + c M_h M_w numbers, 2 c C + 2 C for W_p and 2 C^2 for W_o. Cost: c M_h M_w hw
for the logits and c (hw)^2 for the sums, per flow. The logits tie the module to one size of map.

Where the sources differ: `shrink_factor` f is 2 for the official maps of 59 x 59 and 1 here, for maps of 7 x 7;
`mid_channels` c is C // 4, their 512 at C = 2048. The official code resizes u to (h - 1) f + 1, which is H only if
f divides H - 1; here u always takes the size of x. Offsets beyond a `mask` smaller than M keep the logit 0, as there.
`normalization` divides o: 1 in the trained official models, None for the area of the mask.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attncli.attention.card import Card
from attncli.attention.observation import Observation

card = Card(
    title="PSANet: Point-wise Spatial Attention Network for Scene Parsing",
    venue="ECCV",
    year=2018,
    arxiv=None,
    site="head",
    code="hszhao/semseg@4f274c3 model/psanet.py",
    sites=("stage",),
    floor="c = max(C // 4, 1); on a 1 x 1 map its attention is constant",
    aliases=("psa-net", "pointwise-spatial-attention"),
    notes=(
        "A segmentation method: no accuracy on image classification is published.",
        "Tied to one size of map: a network built for one image size refuses others.",
        "Back to C channels by a 1x1 convolution, an addition of ours; output=concat is the official module.",
    ),
)


class Attention(nn.Module):
    """(N, C, H, W) -> (N, C, H, W), or (N, 2 C, H, W) with output="concat".

    `flow`: both, collect or distribute alone; `compact`: a logit for each position rather than each offset;
    `softmax=False` leaves the weights as they are predicted. Raises ValueError for an even mask, a width or
    factor that is not positive, and in forward for a map of another size than `size`.
    """

    def __init__(
        self,
        channels: int,
        size: tuple[int, int],
        *,
        mid_channels: int | None = None,
        flow: Literal["both", "collect", "distribute"] = "both",
        compact: bool = False,
        shrink_factor: int = 1,
        mask: tuple[int, int] | None = None,
        normalization: float | None = 1.0,
        softmax: bool = True,
        output: Literal["project", "concat"] = "project",
    ) -> None:
        super().__init__()
        c = max(channels // 4, 1) if mid_channels is None else mid_channels
        if c < 1 or shrink_factor < 1:
            raise ValueError(f"mid_channels={c}, shrink_factor={shrink_factor}: both must be positive")
        if flow not in ("both", "collect", "distribute") or output not in ("project", "concat"):
            raise ValueError(f"unknown flow {flow!r} or output {output!r}")
        self.size = tuple(size)
        small = ((size[0] - 1) // shrink_factor + 1, (size[1] - 1) // shrink_factor + 1)
        mask = small if compact else mask or (2 * small[0] - 1, 2 * small[1] - 1)
        divisor = mask[0] * mask[1] if normalization is None else normalization
        directions = ("collect", "distribute") if flow == "both" else (flow,)
        self.flows = nn.ModuleList(
            Flow(channels, c, small, mask, direction == "distribute", compact, softmax, divisor)
            for direction in directions
        )
        self.join = _make_conv_unit(c * len(directions), channels)
        self.out = nn.Conv2d(2 * channels, channels, 1, bias=False) if output == "project" else None

    def forward(self, x: Tensor) -> Tensor:
        """Join to each position what flows into it."""
        if x.shape[2:] != self.size:
            raise ValueError(
                f"psa is built for maps of {_format_size(self.size)}, and got {_format_size(tuple(x.shape[2:]))}"
            )
        u = self.join(torch.cat([flow(x) for flow in self.flows], 1))
        y = torch.cat([x, _resize_map(u, self.size)], 1)
        return y if self.out is None else self.out(y)


class Flow(nn.Module):
    """One direction: x (N, C, H, W) -> o (N, c, h, w)."""

    index: Tensor | None

    def __init__(
        self,
        channels: int,
        c: int,
        size: tuple[int, int],
        mask: tuple[int, int],
        distribute: bool,
        compact: bool,
        softmax: bool,
        divisor: float,
    ) -> None:
        super().__init__()
        self.size, self.distribute, self.softmax, self.divisor = size, distribute, softmax, divisor
        self.reduce = _make_conv_unit(channels, c)
        self.predict = nn.Sequential(_make_conv_unit(c, c), nn.Conv2d(c, mask[0] * mask[1], 1, bias=False))
        self.cropped = any(m < 2 * side - 1 for m, side in zip(mask, size, strict=True))
        self.register_buffer("index", None if compact else offset_index(size, mask), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Sum over the sources of each position."""
        z = _resize_map(self.reduce(x), self.size)
        p = self.predict_affinity(z).to(z.dtype)
        return (z.flatten(2) @ p).unflatten(2, self.size) / self.divisor

    def observe(self, inputs: tuple[Tensor, ...], output: Tensor) -> list[Observation]:
        """Return P with queries as rows; without softmax its rows need not sum to 1."""
        p = self.predict_affinity(_resize_map(self.reduce(inputs[0]), self.size)).transpose(1, 2)
        flow = "distributed to each position" if self.distribute else "collected by each position"
        return [Observation("affinity", flow, p, queries=self.size, keys=self.size)]

    def predict_affinity(self, z: Tensor) -> Tensor:
        """Return P, (N, hw, hw): rows are sources, and columns, with softmax, sum to 1."""
        logits: Tensor = self.predict(z).flatten(2)
        if self.index is not None:
            logits = F.pad(logits, (0, 0, 0, 1)) if self.cropped else logits  # the last is for offsets beyond the mask
            logits = logits.gather(1, self.index.expand(len(logits), -1, -1))
        if self.distribute:
            logits = logits.transpose(1, 2)
        full = torch.promote_types(logits.dtype, torch.float32)
        return logits.softmax(1, dtype=full) if self.softmax else logits


def offset_index(size: tuple[int, int], mask: tuple[int, int]) -> Tensor:
    """Return the place of offset j - i in a mask, (hw, hw) for j, i in row-major order; M_h M_w if beyond the mask.

    Raises ValueError for a mask that has no centre.
    """
    if any(m < 1 or m % 2 == 0 for m in mask):
        raise ValueError(f"a mask of {_format_size(mask)} has no centre: both sides must be odd and positive")
    rows, columns = torch.arange(size[0]), torch.arange(size[1])
    dy = rows[:, None, None, None] - rows[:, None] + mask[0] // 2  # (h, 1, h, 1)
    dx = columns[:, None, None] - columns + mask[1] // 2  # (w, 1, w)
    inside = (dy >= 0) & (dy < mask[0]) & (dx >= 0) & (dx < mask[1])
    return torch.where(inside, dy * mask[1] + dx, mask[0] * mask[1]).view(size[0] * size[1], -1)


def _make_conv_unit(c_in: int, c: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(c_in, c, 1, bias=False), nn.BatchNorm2d(c), nn.ReLU(inplace=True))


def _resize_map(x: Tensor, size: tuple[int, ...]) -> Tensor:
    if x.shape[2:] == size:
        return x
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)


def _format_size(size: tuple[int, ...]) -> str:
    return "x".join(map(str, size))
