"""GSoP: each channel is weighed by the covariances between channels.

    u = relu(BN(A relu(x)))                            (N, d, M), A a 1x1 convolution with bias, M pixels
    P = (u - mean)(u - mean)^T / M                     (N, d, d)
    v = R BN_rows(P)                                   (N, 4 d), 4 outputs per row, each row its own weights
    s = sigmoid(F v)                                   (N, C)
    y = x * s                                          (N, C, H, W)

Only in the last block of each stage. A has stride 2 in the first stage, 1 elsewhere. BN_rows has one channel a
row of P. Learns 5 C d + 4 d^2 + 9 d + C numbers per site. Cost: C d M + d^2 M products. Convolutions start Kaiming
normal by fan out.

Where the sources differ: one survey document omits norms, ReLUs and biases; the official code, followed here, has
them. It centres by a product with an M x M matrix; centring u first gives the same. Its position branch and the
fusions with it, off by default there, are not offered.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attncli.attention.card import Card
from attncli.attention.ops import gate, promote_half

card = Card(
    title="Global Second-order Pooling Convolutional Networks",
    venue="CVPR",
    year=2019,
    arxiv="1811.12006",
    site="gate",
    sites=("stage", "head"),
    code="ZilinGao/Global-Second-order-Pooling-Convolutional-Networks@662a699 torchvision/models/resnet.py",
    blocks=(-1,),
    dead=("reduce.bias",),
    dead_because="a norm follows and takes it away",
    floor="d = min(128, max(C // 2, 1)), the paper's 128 from C = 256 on",
    aliases=("gsop-net", "global-second-order-pooling"),
    notes=(
        "Published figures are of networks whose last stage runs at stride 1 (6.18 against 3.86 GFLOPs on resnet50): "
        "most of that cost is the stride's, not the mechanism's.",
        "The paper's d for CIFAR networks is not known.",
    ),
)


class Attention(nn.Module):
    """(N, C, H, W) -> (N, C, H, W). `att_dim` is d, None takes the rule; `row_expansion` outputs per row of P.

    `reduction_stride` is the stride of A, for all stages or one per stage (the last one for all that follow).
    Raises ValueError for numbers below 1, or if the stride leaves one pixel, which has no covariance.
    """

    def __init__(
        self,
        channels: int,
        stage: int = 1,
        size: tuple[int, int] | None = None,
        *,
        att_dim: int | None = None,
        row_expansion: int = 4,
        reduction_stride: int | tuple[int, ...] = (2, 1, 1, 1),
    ) -> None:
        super().__init__()
        d = default_attention_dim(channels) if att_dim is None else att_dim
        strides = (reduction_stride,) if isinstance(reduction_stride, int) else reduction_stride
        if d < 1 or row_expansion < 1 or min(strides, default=0) < 1:
            raise ValueError(
                f"att_dim={d}, row_expansion={row_expansion}, reduction_stride={strides}: all must be at least 1"
            )
        stride = strides[min(stage, len(strides)) - 1]
        if size is not None and max(size) <= stride:
            raise ValueError(f"a {size[0]} x {size[1]} map at reduction_stride {stride} is 1 x 1: no covariance")
        self.reduce = nn.Conv2d(channels, d, 1, stride=stride)
        self.reduce_bn = nn.BatchNorm2d(d)
        self.row_bn = nn.BatchNorm1d(d)
        self.rows = RowConvolution(d, row_expansion)
        self.expand = nn.Linear(row_expansion * d, channels)
        for weight in (self.reduce.weight, self.expand.weight):
            nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Weigh the channels of x."""
        u = F.relu(self.reduce_bn(self.reduce(F.relu(x))))
        v = self.rows(self.row_bn(channel_covariance(u)))
        return gate(x, torch.sigmoid(self.expand(v)))


class RowConvolution(nn.Module):
    """Each of d rows to its own e outputs, (N, d, d) -> (N, e d): a grouped convolution as one batched product."""

    def __init__(self, d: int, e: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(d, d, e))  # (row, column, output)
        self.bias = nn.Parameter(torch.empty(d * e))
        nn.init.normal_(self.weight, std=math.sqrt(2 / (e * d * d)))  # Kaiming by fan out, as a convolution counts it
        nn.init.uniform_(self.bias, -1 / math.sqrt(d), 1 / math.sqrt(d))

    def forward(self, p: Tensor) -> Tensor:
        """Weigh the columns of each row."""
        d, _, e = self.weight.shape
        return torch.baddbmm(self.bias.view(d, 1, e), p.transpose(0, 1), self.weight).transpose(0, 1).flatten(1)


def channel_covariance(u: Tensor) -> Tensor:
    """Return the covariances of channels over pixels, divided by their number: (N, d, H, W) -> (N, d, d).

    Of half precision, and under autocast, they are taken, and returned, in float32.
    """
    rows = promote_half(u.flatten(2))
    with torch.autocast(u.device.type, enabled=False):
        rows = rows - rows.mean(2, keepdim=True)
        return rows @ rows.mT / rows.shape[2]


def default_attention_dim(channels: int) -> int:
    """Return the paper's 128, or half of the channels if that is less: a reduction must not widen."""
    return min(128, max(channels // 2, 1))
