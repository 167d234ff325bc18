"""CPCA (channel prior convolutional attention): a channel gate, then strips that give each value a factor.

    x1 = gelu(P x)                                       P one 1x1 convolution, used three times
    c = sigmoid(M mean x1) + sigmoid(M max x1)           (N, C), M: C -> C / r -> C, so 0 < c < 2
    x2 = c * x1
    D = dw5x5(x2);  S = D + sum over k of dw_kx1(dw_1xk(D)),  k = 7, 11, 21
    y = P(P(S) * x2)                                     (N, C, H, W)

The depth-wise convolutions have biases. Learns C^2 + C, 2 C C/r + C/r + C, and 110 C numbers. Cost: (3 C + 103) C HW
multiply-adds. There is no norm, no sum with x and nothing that bounds P(S).

Where the sources differ: the SCSA authors compare it with r 16, its own have r 4. It was made for segmentation, inside
its own blocks; here it stands where that comparison has it.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attncli.attention.card import Card
from attncli.attention.depthwise_conv import make_depthwise_conv
from attncli.attention.observation import Observation
from attncli.attention.ops import gate, spatial_max, spatial_mean

card = Card(
    title="Channel Prior Convolutional Attention for Medical Image Segmentation",
    venue="Computers in Biology and Medicine",
    year=2024,
    arxiv="2306.05196",
    site="mid",
    sites=("gate", "pre-norm", "block-input", "stage", "head"),
    code="Cuthbert-Huang/CPCANet@550b49a CPCANet/nnunet/network_architecture/CPCANet.py",
    floor="hidden width max(C // reduction, 1)",
    notes=(
        "It is not the identity at the start: in a pretrained network it destroys what was learnt.",
        "A method for segmentation: no figures for classification were published by its authors.",
    ),
    aliases=("channel-prior-convolutional-attention", "CPCANet"),
)


class Attention(nn.Module):
    """(N, C, H, W) -> (N, C, H, W). `strips` are the lengths k.

    Raises ValueError for even lengths or a reduction below 1.
    """

    def __init__(self, channels: int, *, reduction: int = 4, strips: tuple[int, ...] = (7, 11, 21)) -> None:
        super().__init__()
        if reduction < 1 or any(k < 1 or k % 2 == 0 for k in strips):
            raise ValueError(f"{reduction=}, strips={list(strips)}: at least 1, and odd lengths")
        hidden = max(channels // reduction, 1)
        self.mlp = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels))
        self.point = nn.Conv2d(channels, channels, 1)
        self.square = make_depthwise_conv(channels, (5, 5))
        self.strips = nn.ModuleList(
            nn.Sequential(make_depthwise_conv(channels, (1, k)), make_depthwise_conv(channels, (k, 1))) for k in strips
        )

    def forward(self, x: Tensor) -> Tensor:
        """Weigh channels, then every value."""
        x = F.gelu(self.point(x))
        x = gate(x, self.compute_channel_gate(x))
        y: Tensor = self.point(self.compute_map(x) * x)
        return y

    def compute_channel_gate(self, x: Tensor) -> Tensor:
        """Return c, (N, C), of x1."""
        mean, top = self.mlp(torch.stack((spatial_mean(x), spatial_max(x)))).sigmoid()
        gates: Tensor = mean + top
        return gates

    def compute_map(self, x: Tensor) -> Tensor:
        """Return P(S), (N, C, H, W), of x2."""
        squares = self.square(x)
        total = squares
        for strip in self.strips:
            total = total + strip(squares)
        factors: Tensor = self.point(total)
        return factors

    def observe(self, inputs: tuple[Tensor, ...], output: Tensor) -> list[Observation]:
        """Return the gate of the channels and the factors of the values."""
        x = F.gelu(self.point(inputs[0]))
        c = self.compute_channel_gate(x)
        return [
            Observation("gate", "weight of each channel", c[:, :, None, None]),
            Observation("gate", "factor of each value", self.compute_map(gate(x, c))),
        ]
