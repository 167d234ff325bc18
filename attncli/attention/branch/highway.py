"""Highway: a learned gate decides, element by element, how much is transformed and how much is carried.

    T = sigmoid(conv_T(x) + b_T)                         (N, C, H', W'), from the input x of the block
    y = T * F(x) + (1 - T) * shortcut(x)                 (N, C, H', W'), in place of F(x) + shortcut(x)

F is the residual branch, conv_T a 1x1 convolution with the block's stride. b_T starts at -6, so that a block starts
as its shortcut. Learns C_in C + C numbers per block. Cost: one 1x1 convolution and one pass over three maps.

The paper's own layer has H = relu(conv_H(x)) for F and x for the shortcut, both convolutions 3x3, b_T at -2. It is a
layer of a network, not an addition to one, so only the residual form above is offered.

Where the sources differ: the paper searches b_T from -1 to -10 and its examples have -2; on ResNet-110 the study of
He et al. (arXiv 1603.05027, Table 1) finds that 0 to -5 fail to train and -6 is the best (8.70 % error, the plain
network 6.61 %), hence -6 here. The carry gate is tied to 1 - T, as in the paper. Weights start as Xavier's.
"""

import torch
from torch import Tensor, nn

from attncli.attention.card import Card
from attncli.attention.observation import Observation

card = Card(
    title="Highway Networks",
    venue="ICML Deep Learning Workshop",
    year=2015,
    arxiv="1505.00387",
    site="join",
    code="flukeskywalker/highway-networks@87d1c8d src/caffe/layers/cudnn_highway_layer.cu",
    aliases=("highway-network", "highway-networks"),
    notes=(
        "With a gate_bias above -6 deep ResNets may not train at all (ResNet-110: above 20 % error).",
        "Gating the shortcut is known to make a ResNet worse, not better.",
    ),
)


class Attention(nn.Module):
    """x (N, C_in, H, W), branch and shortcut (N, C, H', W') -> (N, C, H', W'), H' = ceil(H / stride).

    Raises ValueError for an even gate kernel.
    """

    def __init__(
        self,
        channels: int,
        channels_in: int,
        stride: int = 1,
        *,
        gate_bias: float = -6.0,
        gate_kernel: int = 1,
    ) -> None:
        super().__init__()
        self.transform = _make_convolution(channels_in, channels, gate_kernel, stride, gate_bias)

    def forward(self, x: Tensor, branch: Tensor, shortcut: Tensor) -> Tensor:
        """Mix branch and shortcut by the gate of x."""
        return torch.lerp(shortcut, branch.to(shortcut.dtype), self.compute_gate(x).to(shortcut.dtype))

    def compute_gate(self, x: Tensor) -> Tensor:
        """Return t, the share of the branch: (N, C_in, H, W) -> (N, C, H', W')."""
        return torch.sigmoid(self.transform(x))

    def observe(self, inputs: tuple[Tensor, ...], output: Tensor) -> list[Observation]:
        """Return the gate t."""
        return [Observation("gate", "share of the branch in the sum", self.compute_gate(inputs[0]))]


def _make_convolution(c_in: int, c: int, kernel: int, stride: int, bias: float) -> nn.Conv2d:
    if kernel < 1 or kernel % 2 == 0:
        raise ValueError(f"kernel of {kernel}: it must be odd and positive")
    conv = nn.Conv2d(c_in, c, kernel, stride, kernel // 2)
    nn.init.xavier_uniform_(conv.weight)
    nn.init.constant_(conv.bias, bias)  # type: ignore[arg-type]  # torch types the bias of a convolution as optional
    return conv
