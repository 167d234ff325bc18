"""Strip pooling (the SPM of SPNet): a gate from the means of whole rows and whole columns.

    a = BN(conv_{k x 1}(mean of x over W))                  (N, C, H, 1)
    b = BN(conv_{1 x k}(mean of x over H))                  (N, C, 1, W)
    y = x * sigmoid(conv_{1x1}(relu(a + b)) + bias)         (N, C, H, W), a and b broadcast

A pixel reaches the gate of its whole row and column, and of the k - 1 next to them, and nothing else. The strip
convolutions keep the full width and have no bias. Learns (2k + 1) C^2 + 5C numbers, 7 C^2 + 5C at k = 3: a heavy
block. Cost: two means, the 1x1 convolution over the map, which dominates, and a product.

Where the sources differ: two modules share the name. This is the gate of the paper, `SPBlock` in the official code;
its `StripPooling` is the mixed pooling of the segmentation head. Some equations leave out the norms and the ReLU.
"""

import torch
from torch import Tensor, nn

from attncli.attention.axis_reductions import axis_mean, memory_order, usual_order
from attncli.attention.card import Card
from attncli.attention.ops import gate

card = Card(
    title="Strip Pooling: Rethinking Spatial Pooling for Scene Parsing",
    venue="CVPR",
    year=2020,
    arxiv="2003.13328",
    site="mid",
    sites=("gate", "pre-norm", "block-input", "stage", "head"),
    blocks=(-1,),
    whole_last_stage=True,
    code="houqb/SPNet@5e97da3 models/resnet.py",
    aliases=("sp-net", "strip-pooling"),
    notes=(
        "A method for scene parsing: no published figures for classification.",
        "In a ResNet-50 it goes into all blocks of the last stage and the last block of the others: 24 % parameters.",
    ),
)


class Attention(nn.Module):
    """(N, C, H, W) -> (N, C, H, W). Raises ValueError for an even kernel."""

    def __init__(self, channels: int, *, kernel_size: int = 3) -> None:
        super().__init__()
        k = kernel_size
        if k < 1 or k % 2 == 0:
            raise ValueError(f"kernel_size={k}: odd and positive, so that the strips keep their length")
        self.column = nn.Conv2d(channels, channels, (k, 1), padding=(k // 2, 0), bias=False)
        self.bn_column = nn.BatchNorm2d(channels)
        self.row = nn.Conv2d(channels, channels, (1, k), padding=(0, k // 2), bias=False)
        self.bn_row = nn.BatchNorm2d(channels)
        self.mix = nn.Conv2d(channels, channels, 1)
        for conv in (self.column, self.row, self.mix):
            area = conv.kernel_size[0] * conv.kernel_size[1]
            nn.init.normal_(conv.weight, std=(2 / (area * channels)) ** 0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Weigh every value of x by its row and its column."""
        a = memory_order(self.bn_column(self.column(axis_mean(x, 3))), x)  # (N, C, H, 1)
        b = memory_order(self.bn_row(self.row(axis_mean(x, 2))), x)  # (N, C, 1, W)
        return gate(x, torch.sigmoid(self.mix(usual_order((a + b).relu_(), x))))
