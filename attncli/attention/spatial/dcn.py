"""DCN: a convolution that reads each of its taps where the image tells it to, as strongly as the image tells it to.

    d, l = conv_offset(x)                                (N, 2 k^2 G, H', W'), (N, k^2 G, H', W')
    m = mask_scale * sigmoid(l)                          v2; v1 has no l, and m = 1
    y(p) = sum_t W_t m_t(p) x(stride p - pad + dilation t + d_t(p))      (N, C, H', W')

x between pixels is bilinear, 0 outside; offsets are pairs (dy, dx) a tap, taps in rows, one set for each of the G
deformable groups of channels. conv_offset starts at 0, so the layer starts as the plain convolution (with the mask
at 2 sigmoid(0) = 1). Stands for a convolution, without its norm. Learns k^2 C_in C / g + 3 k^2 G (k^2 C_in + 1)
numbers; v1 2 instead of 3. Cost: the convolution, conv_offset, and four scattered reads a sample.

Where the sources differ: v2's paper and mmcv use sigmoid, which halves activations at the start (`mask_scale=1`);
the PyTorch code followed here and the authors' example double it. Outside the image the first operator of v1 read
0, that of torchvision interpolates with zeros over the last pixel, as the later ones do. Offsets learn at a tenth
of the learning rate, as in the authors' v2 example.
"""

import torch
from torch import Tensor, nn
from torchvision.ops import deform_conv2d

from attncli.attention.card import Card
from attncli.attention.ops import is_channels_last

card = Card(
    title="Deformable Convolutional Networks",
    venue="ICCV",
    year=2017,
    arxiv="1703.06211",
    site="conv",
    code="developer0hye/PyTorch-Deformable-Convolution-v2@251307b dcn.py",
    stages=(2, 3, 4),
    cifar_stages=(2, 3),
    lr_scale=(("offset", 0.1),),
    notes=(
        "The default is v2 (Deformable ConvNets v2, CVPR 2019, arXiv 1811.11168); modulated=False is v1.",
        "Stages 2 to 4, first 3x3 of a stage included, as v2; v1 has stage 4 only.",
        "Its accuracy is published for detection and segmentation, not for image classification.",
    ),
)


class Attention(nn.Module):
    """(N, C_in, H, W) -> (N, C, H', W'), H' = ceil(H / stride). The operator runs in float32 where x is half.

    Raises ValueError for an even kernel, or widths that the groups do not divide.
    """

    def __init__(
        self,
        channels: int,
        channels_in: int,
        stride: int = 1,
        groups: int = 1,
        *,
        modulated: bool = True,
        mask_scale: float = 2.0,
        deformable_groups: int = 1,
        kernel: int = 3,
        dilation: int = 1,
        bias: bool = False,
    ) -> None:
        super().__init__()
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"kernel of {kernel}: it must be odd and positive")
        if min(groups, deformable_groups) < 1 or channels % groups or channels_in % groups:
            raise ValueError(f"{groups} groups do not divide {channels_in} input and {channels} output channels")
        if channels_in % deformable_groups:
            raise ValueError(f"deformable_groups={deformable_groups} does not divide {channels_in} input channels")
        self.modulated, self.mask_scale = modulated, mask_scale
        self.taps = kernel**2 * deformable_groups
        padding = dilation * (kernel - 1) // 2
        self.conv = nn.Conv2d(channels_in, channels, kernel, stride, padding, dilation, groups, bias)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")
        self.offset = nn.Conv2d(channels_in, (3 if modulated else 2) * self.taps, kernel, stride, padding, dilation)
        for p in (*self.offset.parameters(), *([self.conv.bias] if self.conv.bias is not None else [])):
            nn.init.zeros_(p)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve x along its own offsets."""
        offset, mask = self.offsets(x)
        conv = self.conv
        with torch.autocast(x.device.type, enabled=False):  # torchvision has no bfloat16 kernel
            full = torch.promote_types(x.dtype, torch.float32)
            y = deform_conv2d(
                x.to(full),
                offset.to(full),
                conv.weight.to(full),
                None if conv.bias is None else conv.bias.to(full),
                conv.stride,
                conv.padding,
                conv.dilation,
                None if mask is None else mask.to(full),
            ).to(x.dtype)
        return y.contiguous(memory_format=torch.channels_last) if is_channels_last(x) else y

    def offsets(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """d, (N, 2 k^2 G, H', W'), in pixels, and m, (N, k^2 G, H', W'), or None for v1."""
        maps: Tensor = self.offset(x)
        if not self.modulated:
            return maps, None
        return maps[:, : 2 * self.taps], self.mask_scale * torch.sigmoid(maps[:, 2 * self.taps :])
