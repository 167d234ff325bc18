"""Coordinate attention: each channel is weighed by its row and by its column.

    z_h = mean of x over W, z_w = mean of x over H                     (N, C, H) and (N, C, W)
    f = hswish(BN(conv1([z_h ; z_w])))                                 (N, m, H + W),  m = max(8, C / r)
    a_h = sigmoid(conv_h(f's first H)), a_w = sigmoid(conv_w(f's last W))
    y = x * a_h * a_w                                                  (N, C, H, W)

For a channel the gate is an outer product: of rank 1. Both directions share conv1 and its norm, whose statistics
run over H + W positions. Learns 3mC + 3m + 2C numbers, biases included. Cost: two means and one product over x.

Where the sources differ: little. The official README calls the activation SiLU, the code has the hard swish,
t * relu6(t + 3) / 6. The paper has no ResNet: there the place of SE is taken, on MobileNetV2 (site mid) that of
the official code, between the depthwise and the last convolution.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from attncli.attention.axis_reductions import axis_mean, memory_order, usual_order
from attncli.attention.card import Card
from attncli.attention.observation import Observation

card = Card(
    title="Coordinate Attention for Efficient Mobile Network Design",
    venue="CVPR",
    year=2021,
    arxiv="2103.02907",
    site="gate",
    mobile_site="mid",
    sites=("mid", "pre-norm", "block-input", "stage", "head"),
    code="houqb/CoordAttention@7619bea coordatt.py",
    dead=("conv1.bias",),
    dead_because="a norm follows and takes it away",
    floor="hidden width max(C // reduction, min_width), min_width 8",
    aliases=("coordatt", "coord-att", "coord-attn", "coordinate", "coordinate-attention"),
    notes=("The gate starts near a quarter.",),
)

ACTIVATIONS = {"h_swish": nn.Hardswish, "relu6": nn.ReLU6, "relu": nn.ReLU}
POOLED = {"h": 3, "w": 2}  # the axis that is averaged away


class Attention(nn.Module):
    """(N, C, H, W) -> (N, C, H, W). `direction` keeps the gate of the rows (h) or of the columns (w) only.

    Raises ValueError for an unknown activation or direction, or sizes below 1.
    """

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 32,
        min_width: int = 8,
        activation: Literal["h_swish", "relu6", "relu"] = "h_swish",
        direction: Literal["both", "h", "w"] = "both",
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS or direction not in ("both", "h", "w"):
            raise ValueError(f"{activation=}, {direction=}: h_swish, relu6 or relu; both, h or w")
        if min(reduction, min_width) < 1:
            raise ValueError(f"{reduction=}, {min_width=}: at least 1")
        m = max(channels // reduction, min_width)
        self.conv1 = _make_conv1x1(channels, m)
        self.bn1 = nn.BatchNorm2d(m)
        self.act = ACTIVATIONS[activation]()
        self.gates = nn.ModuleDict({d: _make_conv1x1(m, channels) for d in ("h", "w") if direction in (d, "both")})

    def forward(self, x: Tensor) -> Tensor:
        """Weigh every value of x by its row's and its column's gate."""
        s = [memory_order(weights, x) for weights in self.compute_gates(x)]
        weights = s[0] if len(s) == 1 else s[0] * s[1]
        return usual_order(memory_order(x, x) * weights, x)

    def compute_gates(self, x: Tensor) -> list[Tensor]:
        """Return the gates of the rows, (N, C, H, 1), and of the columns, (N, C, 1, W), or the one that is there."""
        z = [_orient_strip(axis_mean(x, POOLED[d]), d) for d in self.gates]  # (N, C, H, 1) and (N, C, W, 1)
        f = self.act(self.bn1(self.conv1(torch.cat(z, 2)))).split([t.shape[2] for t in z], 2)
        return [_orient_strip(conv(t).sigmoid(), d) for (d, conv), t in zip(self.gates.items(), f, strict=True)]

    def observe(self, inputs: tuple[Tensor, ...], output: Tensor) -> list[Observation]:
        """Return the gates that are there."""
        names = {"h": "weight of the rows", "w": "weight of the columns"}
        gates = zip(self.gates, self.compute_gates(inputs[0]), strict=True)
        return [Observation("gate", names[direction], weights) for direction, weights in gates]


def _orient_strip(t: Tensor, direction: str) -> Tensor:
    """Transpose a row of column values, (N, C, 1, W), to a column or back; leave a column of row values as it is."""
    return t if direction == "h" else t.transpose(2, 3)


def _make_conv1x1(wide: int, narrow: int) -> nn.Conv2d:
    """Return a 1x1 convolution with weights of variance 2 / out and zero bias, as in the official networks."""
    conv = nn.Conv2d(wide, narrow, 1)
    nn.init.normal_(conv.weight, std=(2 / narrow) ** 0.5)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv
