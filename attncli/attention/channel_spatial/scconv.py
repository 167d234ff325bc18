"""SCConv: half of a convolution's channels is calibrated by the same channels seen from further away.

    x = [x_1 ; x_2], by channels
    y_1 = BN(K_1 * x_1)                                              plain half
    u = up(BN(K_2 * avgpool_r(x_2)))                                 nearest neighbour, to the size of x_2
    y_2 = BN(K_4 * (sigmoid(x_2 + u) . BN(K_3 * x_2)))               calibrated half
    y = [y_1 ; y_2]                                                  (N, C, H', W'); the ReLU is outside

All K are 3x3 convolutions without bias; the stride is that of K_1 and K_4. Stands for a 3x3 convolution and its norm
of equal width: learns 9 C^2 / groups + 4 C numbers, 2C more than they, and costs 3/4 + 1/(4 r^2) of the
convolution's multiply-adds at stride 1.

Where the sources differ: the code interpolates with nearest neighbours, the paper's text with a bilinear form; one
seed lists the calibrated half first, the code last, as here. The equations print no norms; there is one after each
of the four convolutions. The official block splits by two 1x1 convolutions, which is one of full width and a split.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attncli.attention.card import Card
from attncli.attention.observation import Observation

card = Card(
    title="Improving Convolutional Networks with Self-Calibrated Convolutions",
    venue="CVPR",
    year=2020,
    arxiv=None,
    site="conv",
    convs="last",
    replaces_norm=True,
    code="MCG-NKU/SCNet@c0b5bd6 scnet.py",
    floor="on maps smaller than pooling_r the pool shrinks to the map's shorter side",
    aliases=("sc-net", "self-calibrated-convolution"),
    notes=(
        "Input and output have the same width, so that of a basic block only the second convolution is replaced.",
        "Parameter-neutral up to the norms: 2C more than the convolution and the norm replaced.",
    ),
)


class Attention(nn.Module):
    """(N, C, H, W) -> (N, C, H', W'), H' = ceil(H / stride). `split` is the share of channels in the plain half.

    With split 0 all channels are calibrated. Raises ValueError if the widths differ, if the split leaves no
    calibrated channel, or if the groups do not divide both halves.
    """

    def __init__(
        self,
        channels: int,
        channels_in: int,
        stride: int = 1,
        groups: int = 1,
        *,
        pooling_r: int = 4,
        split: float = 0.5,
        dilation: int = 1,
    ) -> None:
        super().__init__()
        if channels_in != channels:
            raise ValueError(f"{channels_in} channels in, {channels} out: a calibrated convolution keeps the width")
        if pooling_r < 1 or dilation < 1 or not 0 <= split < 1:
            raise ValueError(f"{pooling_r=}, {dilation=}, {split=}: 1 or more, 1 or more, from 0 to below 1")
        plain_width = round(channels * split)
        if plain_width % groups or (channels - plain_width) % groups:
            raise ValueError(
                f"{groups} groups do not divide {plain_width} plain and {channels - plain_width} calibrated channels"
            )
        self.widths, self.r = [plain_width, channels - plain_width], pooling_r
        self.k1 = _make_conv3x3(plain_width, stride, dilation, groups) if plain_width else None
        self.k2 = _make_conv_bn(channels - plain_width, dilation, groups)
        self.k3 = _make_conv_bn(channels - plain_width, dilation, groups)
        self.k4 = _make_conv3x3(channels - plain_width, stride, dilation, groups)
        self.norm = nn.BatchNorm2d(channels)  # of K_1 and K_4 at once: norms work channel by channel

    def forward(self, x: Tensor) -> Tensor:
        """Convolve one half, calibrate the other."""
        if self.k1 is None:
            y = self.convolve_calibrated(x)
        else:
            plain_half, calibrated_half = x.split(self.widths, 1)
            y = torch.cat((self.k1(plain_half), self.convolve_calibrated(calibrated_half)), 1)
        normed: Tensor = self.norm(y)
        return normed

    def convolve_calibrated(self, x: Tensor) -> Tensor:
        """Return the calibrated half, (N, C', H, W) -> (N, C', H', W'), before its norm."""
        y: Tensor = self.k4(self.k3(x) * self.compute_gate(x))
        return y

    def compute_gate(self, x: Tensor) -> Tensor:
        """Return s, the weights of K_3's output, (N, C', H, W) -> the same shape."""
        pooled = self.k2(F.avg_pool2d(x, min(self.r, *x.shape[2:])))
        return torch.sigmoid(x + F.interpolate(pooled, x.shape[2:]))

    def observe(self, inputs: tuple[Tensor, ...], output: Tensor) -> list[Observation]:
        """Return the gate of the calibrated half."""
        return [Observation("gate", "gate of the calibrated half", self.compute_gate(inputs[0][:, self.widths[0] :]))]


def _make_conv3x3(width: int, stride: int, dilation: int, groups: int) -> nn.Conv2d:
    """Return a 3x3 convolution that keeps the width, drawn by Kaiming's rule for the fan out."""
    conv = nn.Conv2d(width, width, 3, stride, dilation, dilation, groups, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return conv


def _make_conv_bn(width: int, dilation: int, groups: int) -> nn.Sequential:
    return nn.Sequential(_make_conv3x3(width, 1, dilation, groups), nn.BatchNorm2d(width))
