"""SE: each channel is weighed by a small network that sees the means of all channels.

    z = mean of x over H, W                    (N, C)
    s = sigmoid(W2 relu(W1 z))                 (N, C), W1: (C/r, C), W2: (C, C/r)
    y = x * s                                  (N, C, H, W)

Learns 2 C^2/r numbers per site, no biases, default initialisation of the two layers (the gate starts near 0.5).
Cost: one mean and one product over x, C^2/r products for the gate.

Where the sources differ: the paper's ablations and the usual PyTorch code have no biases; the authors' Caffe
files and most model zoos have them (`bias=True`). timm and mmpretrain round the hidden width to a multiple
of 8 (`divisor=8`). One re-implementation takes PReLU for ReLU (`activation="prelu"`) and draws the weights with
standard deviation 0.001 (`init_std=0.001`). `squeeze` and `gate` are the paper's ablations.

`layers` are those of ECA-Net's Table 2 in place of W2 relu(W1 z): "none" z itself (SE-Var1), "diagonal" w * z, a
weight per channel (SE-Var2), "full" W z, a C x C layer (SE-Var3). `reduction` and `activation` mean nothing there.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from attncli.attention import ops
from attncli.attention.card import Card

card = Card(
    title="Squeeze-and-Excitation Networks",
    venue="CVPR",
    year=2018,
    arxiv="1709.01507",
    site="gate",
    sites=("pre-norm", "mid", "block-input", "stage", "head"),
    code="moskomule/senet.pytorch@8cb2669 senet/se_module.py",
    floor="hidden width max(C // r, 1)",
    aliases=("se-net", "squeeze-excitation", "squeeze-and-excitation", "SELayer", "se_block", "SEModule"),
    notes=(
        "Without biases resnet50 gains 2,514,944 parameters, with biases 2,530,992; both print as 28.1 M.",
        "At the width 16 of a CIFAR ResNet's first stage r = 16 leaves one hidden unit.",
        "The paper's SE-PRE, before the branch alone, is no site: block-input weighs the shortcut too. SE after the "
        "sum is the site stage (worse there: 22.78 % error).",
    ),
)

LAYERS = ("bottleneck", "none", "diagonal", "full")
GATES = {"sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": torch.relu}


class Attention(nn.Module):
    """(N, C, H, W) -> (N, C, H, W). `reduction` is r, `divisor` what the hidden width is a multiple of.

    `init_std` draws the layers from a normal distribution of that deviation, biases 0; None keeps torch's own.
    Raises ValueError for an unknown squeeze, gate, activation or layers, or if r or `divisor` is below 1.
    """

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 16,
        bias: bool = False,
        squeeze: Literal["avg", "max"] = "avg",
        activation: Literal["relu", "prelu"] = "relu",
        gate: Literal["sigmoid", "tanh", "relu"] = "sigmoid",
        divisor: int = 1,
        init_std: float | None = None,
        layers: Literal["bottleneck", "none", "diagonal", "full"] = "bottleneck",
    ) -> None:
        super().__init__()
        if squeeze not in ("avg", "max") or gate not in GATES or activation not in ("relu", "prelu"):
            raise ValueError(f"squeeze={squeeze!r}, activation={activation!r}, gate={gate!r}: one is unknown")
        if layers not in LAYERS:
            raise ValueError(f"layers={layers!r}: one of {', '.join(LAYERS)}")
        width = hidden_width(channels, reduction, divisor)
        has_bottleneck = layers == "bottleneck"
        self.squeeze = squeeze
        self.gate = GATES[gate]
        self.reduce = nn.Linear(channels, width, bias=bias) if has_bottleneck else nn.Identity()
        self.activation = (nn.PReLU(width) if activation == "prelu" else nn.ReLU()) if has_bottleneck else nn.Identity()
        self.expand = _make_last_layer(layers, width, channels, bias)
        if init_std is not None:
            for layer in (self.reduce, self.expand):
                for p in layer.parameters():
                    nn.init.normal_(p, std=init_std) if p is layer.weight else nn.init.zeros_(p)

    def forward(self, x: Tensor) -> Tensor:
        """Weigh the channels of x."""
        z = ops.spatial_mean(x) if self.squeeze == "avg" else ops.spatial_max(x)  # (N, C)
        return ops.gate(x, self.gate(self.expand(self.activation(self.reduce(z)))))


def _make_last_layer(layers: str, width: int, channels: int, bias: bool) -> nn.Module:
    if layers == "none":
        return nn.Identity()
    if layers == "diagonal":
        return DiagonalLayer(channels, bias)
    return nn.Linear(width if layers == "bottleneck" else channels, channels, bias=bias)


class DiagonalLayer(nn.Module):
    """One weight per channel, (N, C) -> (N, C), with or without bias; drawn from (-1, 1), as a layer 1 -> 1 is."""

    def __init__(self, channels: int, bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels).uniform_(-1, 1))
        self.bias = nn.Parameter(torch.empty(channels).uniform_(-1, 1)) if bias else None

    def forward(self, z: Tensor) -> Tensor:
        """Scale each channel of z."""
        return z * self.weight if self.bias is None else torch.addcmul(self.bias, z, self.weight)


def hidden_width(channels: int, reduction: int = 16, divisor: int = 1) -> int:
    """Return C/r rounded down, or with a divisor its multiple nearest to C/r; at least one, or the divisor.

    Raises ValueError if reduction or divisor is below 1.
    """
    if reduction < 1 or divisor < 1:
        raise ValueError(f"reduction={reduction}, divisor={divisor}: both must be at least 1")
    return max((channels // reduction + divisor // 2) // divisor * divisor, divisor)
