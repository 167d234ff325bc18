"""GE: each channel is weighed by what it gathers from a large part of the map.

    s = gather(x);  s = excite(s);  y = x * sigmoid(s resized to H x W, nearest)          (N, C, H, W)

    theta-minus   gather: mean over the map, or over (2e-1) x (2e-1) windows at stride e;  excite: nothing
    theta         gather: BN of a depth-wise convolution as large as the map, or, for an extent e = 2^n, n depth-wise
                  3 x 3 convolutions of stride 2, each with BN, ReLU between them;  excite: nothing
    theta-plus    gather as theta;  excite: W2 relu(W1 relu(s) + b1) + b2, 1 x 1, C to C/r to C

Learns: theta-minus nothing; theta C H W + 2 C, or 11 C log2 e; theta-plus 2 C^2/r + C/r + C more. Cost: C H W products
to gather, one product over x. Kernels start normal with variance 2 over their size, excite with deviation 0.01.

Where the sources differ: the official Caffe files have the ReLU at the start of excite and its biases; timm and
BayesWatch's port lack the ReLU (`excite_relu=False`), the latter the biases (`excite_bias=False`). Whether padding
counts in the means of theta-minus with an extent is not settled (`count_padding`). BayesWatch pools to H/e x W/e.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attncli.attention.card import Card
from attncli.attention.ops import gate, spatial_mean, weighted_sum

card = Card(
    title="Gather-Excite: Exploiting Feature Context in Convolutional Neural Networks",
    venue="NeurIPS",
    year=2018,
    arxiv="1810.12348",
    site="gate",
    sites=("pre-norm", "mid", "block-input", "stage"),
    code="hujie-frank/GENet@ae791f8 RN50-GEPP.prototxt",
    floor="hidden width max(C // r, 1)",
    aliases=("ge-net", "gather-excite"),
    notes=(
        "theta and theta-plus over the whole map hold a kernel of its size: parameters grow with the image, and a "
        "model built for one image size takes no other.",
        "In training their norm sees one value per sample and channel: small batches are noisy, a batch of one fails.",
        "A kernel over the whole map runs as a product and a sum: its C H W products count as element-wise work, "
        "not as MACs (5.5 M on resnet50 at 224 px).",
        "theta-minus starts near a gate of 0.5: the branch is halved.",
    ),
)


class Attention(nn.Module):
    """(N, C, H, W) -> (N, C, H, W). `extent` e is a power of two, 0 the whole map; `reduction` is r.

    Raises ValueError for unknown variants, other extents, r below 1, and if a kernel over the whole map does not
    know the map's size or meets another one.
    """

    def __init__(
        self,
        channels: int,
        size: tuple[int, int] | None = None,
        *,
        variant: Literal["theta-plus", "theta", "theta-minus"] = "theta-plus",
        extent: int = 0,
        reduction: int = 16,
        excite_relu: bool = True,
        excite_bias: bool = True,
        count_padding: bool = False,
    ) -> None:
        super().__init__()
        if variant not in ("theta-plus", "theta", "theta-minus"):
            raise ValueError(f"variant={variant!r}: it must be theta-plus, theta or theta-minus")
        if extent < 0 or extent == 1 or extent.bit_count() > 1 or reduction < 1:
            raise ValueError(f"extent={extent} is 0 or a power of two from 2 on, reduction={reduction} is at least 1")
        self.gather = _make_gather(channels, size, variant, extent, count_padding)
        self.excite = nn.Sequential()
        if variant == "theta-plus":
            self.excite = _make_excite(channels, max(channels // reduction, 1), excite_relu, excite_bias)

    def forward(self, x: Tensor) -> Tensor:
        """Weigh x by what was gathered."""
        s = torch.sigmoid(self.excite(self.gather(x)))
        if s.shape[2:] != (1, 1):
            s = F.interpolate(s, x.shape[2:])
        return gate(x, s)


class WholeMapGather(nn.Module):
    """Norm of a depth-wise convolution as large as the map: (N, C, H, W) -> (N, C, 1, 1)."""

    def __init__(self, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels, *size) * math.sqrt(2 / (size[0] * size[1])))
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Gather the whole map. Raises ValueError if it has another size."""
        if x.shape[1:] != self.weight.shape:
            (h, w), (got_h, got_w) = self.weight.shape[1:], x.shape[2:]
            raise ValueError(f"the kernel is {h} x {w}, the map {got_h} x {got_w}: build the model for this image size")
        s: Tensor = self.bn(weighted_sum(x, self.weight)[:, :, None, None])
        return s


class MeanGather(nn.Module):
    """Mean over the map: (N, C, H, W) -> (N, C, 1, 1)."""

    def forward(self, x: Tensor) -> Tensor:
        """Gather the whole map."""
        return spatial_mean(x)[:, :, None, None]


def _make_gather(
    channels: int, size: tuple[int, int] | None, variant: str, extent: int, count_padding: bool
) -> nn.Module:
    if variant == "theta-minus":
        if not extent:
            return MeanGather()
        return nn.AvgPool2d(2 * extent - 1, extent, extent - 1, count_include_pad=count_padding)
    if extent:
        return _make_strided_chain(channels, steps=extent.bit_length() - 1)
    if size is None:
        raise ValueError(f"{variant} over the whole map needs the map's size")
    return WholeMapGather(channels, size)


def _make_strided_chain(channels: int, steps: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(steps):
        conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1, groups=channels, bias=False)
        nn.init.kaiming_normal_(conv.weight)
        layers += [conv, nn.BatchNorm2d(channels), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _make_excite(channels: int, hidden: int, relu: bool, bias: bool) -> nn.Sequential:
    down, up = nn.Conv2d(channels, hidden, 1, bias=bias), nn.Conv2d(hidden, channels, 1, bias=bias)
    for layer in (down, up):
        nn.init.normal_(layer.weight, std=0.01)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return nn.Sequential(nn.ReLU() if relu else nn.Identity(), down, nn.ReLU(), up)
