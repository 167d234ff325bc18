"""EncNet: each channel is weighed by how the pixels differ from learned codewords.

    f = relu(BN(P x))                                          (N, C, M), P a 1x1 convolution, M = HW pixels
    A_ik = softmax over k of t_k ||f_i - d_k||^2               (N, M, K), t_k starts negative
    E_k = sum_i A_ik (f_i - d_k)                               (N, K, C)
    e = mean over k of relu(BN_K(E))                           (N, C), BN_K has one channel per codeword
    y = relu(x + x * sigmoid(G e + g))                         (N, C, H, W)

Learns 2 C^2 + 3 C + K C + 3 K numbers per site: one site, at the head, on wide networks. Cost: C^2 M + 2 K C M
products; with the square expanded and the sum split no residual is ever stored. Codewords start uniform within
1/sqrt(K C), t within (-1, 0).

Where the sources differ: the paper writes exp(-s r^2), s > 0, the code adds no minus and starts t below 0, which is
the same. The paper sums the encodings (`codes="sum"`), the code averages them. The paper's output is x times the gate
(`output="product"`), the code's has the sum and ReLU above. The code's second output, which predicts the classes
present in a picture for a loss of its own, is left out: with one label per image it repeats the main loss.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attncli.attention.card import Card
from attncli.attention.ops import gate, promote_half

card = Card(
    title="Context Encoding for Semantic Segmentation",
    venue="CVPR",
    year=2018,
    arxiv="1803.08904",
    site="head",
    sites=("gate", "mid", "stage"),
    code="zhanghang1989/PyTorch-Encoding@ac74841 encoding/models/sseg/encnet.py",
    aliases=("context-encoding", "enc", "EncModule"),
    notes=(
        "The paper's CIFAR-10 experiment puts it in place of SE in every block (site gate) with K = 16 or 32.",
        "The output is never negative, which at the gate keeps a block from subtracting.",
        "It comes from segmentation; the presence loss, worth 1.6 points there, has no place with one label per image.",
    ),
)


class Attention(nn.Module):
    """(N, C, H, W) -> (N, C, H, W). `ncodes` is K, `codes` how the K encodings become one, `output` the last line.

    Raises ValueError for K below 1 and unknown names.
    """

    def __init__(
        self,
        channels: int,
        *,
        ncodes: int = 32,
        codes: Literal["mean", "sum"] = "mean",
        output: Literal["residual", "product"] = "residual",
    ) -> None:
        super().__init__()
        if ncodes < 1 or codes not in ("mean", "sum") or output not in ("residual", "product"):
            raise ValueError(
                f"ncodes={ncodes}, codes={codes!r}, output={output!r}: "
                "ncodes is at least 1, codes mean or sum, output residual or product"
            )
        self.factor = 1 / ncodes if codes == "mean" else 1.0
        self.output = output
        self.project = nn.Conv2d(channels, channels, 1, bias=False)
        self.bn = nn.BatchNorm2d(channels)
        bound = 1 / math.sqrt(ncodes * channels)
        self.codewords = nn.Parameter(torch.empty(ncodes, channels).uniform_(-bound, bound))
        self.scale = nn.Parameter(torch.empty(ncodes).uniform_(-1, 0))
        self.code_bn = nn.BatchNorm1d(ncodes)
        self.excite = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Weigh the channels of x."""
        s = torch.sigmoid(self.excite(self.encode_pixels(x)))
        return gate(x, s) if self.output == "product" else F.relu(gate(x, 1 + s))

    def encode_pixels(self, x: Tensor) -> Tensor:
        """Return e, one vector for all pixels and codewords: (N, C, H, W) -> (N, C)."""
        f = F.relu(self.bn(self.project(x)))
        return F.relu(self.code_bn(self.aggregate_residuals(f.flatten(2).mT))).sum(1) * self.factor

    def aggregate_residuals(self, f: Tensor) -> Tensor:
        """Return E, the residuals of each codeword: (N, M, C) -> (N, K, C); at least in float32."""
        with torch.autocast(f.device.type, enabled=False):
            f = promote_half(f).contiguous()  # read several times
            a = self.assign_codewords(f)
            return a.mT @ f - a.sum(1)[:, :, None] * self.codewords

    def assign_codewords(self, f: Tensor) -> Tensor:
        """Return a, how much of each pixel goes to which codeword: (N, M, C) -> (N, M, K)."""
        d, t = self.codewords, self.scale
        products = F.linear(f, -2 * t[:, None] * d, t * d.square().sum(1))  # t ||f - d||^2 without its t ||f||^2
        return torch.addcmul(products, f.square().sum(2, keepdim=True), t).softmax(2)
