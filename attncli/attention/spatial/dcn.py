"""DCN: a convolution that reads each of its taps at a place, and with a strength, that depend on the image.

    d, l = conv_offset(x)                                (N, 2 k^2 G, H', W'), (N, k^2 G, H', W')
    m = mask_scale * sigmoid(l)                          v2; v1 has no l, and m = 1
    y(p) = sum_t W_t m_t(p) x(stride p - pad + dilation t + d_t(p))      (N, C, H', W')

x between pixels is bilinear, 0 outside; offsets are pairs (dy, dx) a tap, taps in rows, one set for each of the G
deformable groups of channels. conv_offset starts at 0, so the layer starts as the plain convolution (with the mask
at 2 sigmoid(0) = 1). Stands for a convolution, without its norm, and starts with its kernel W, as the authors keep
pretrained ones: the network starts as the plain network. Convolutions of another size than 3x3 (5x5 in EfficientNets)
stay as they are; with another `kernel` in place of a 3x3 one, W is drawn anew.
Learns k^2 C_in C / g + 3 k^2 G (k^2 C_in + 1) numbers; v1 2 instead of 3. Cost: the convolution, conv_offset, and four
scattered reads per sample.

Where the sources differ: v2's paper and mmcv use sigmoid, which halves activations at the start (`mask_scale=1`);
the PyTorch code followed here and the authors' example double it. Outside the image the first operator of v1 read
0, that of torchvision interpolates with zeros over the last pixel, as the later ones do. Offsets learn at a tenth
of the learning rate, as in the authors' v2 example.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import deform_conv2d

from attncli.attention.card import Card
from attncli.attention.observation import Observation
from attncli.attention.ops import is_channels_last

card = Card(
    title="Deformable Convolutional Networks",
    venue="ICCV",
    year=2017,
    arxiv="1703.06211",
    site="conv",
    host_kernel="conv.weight",
    code="developer0hye/PyTorch-Deformable-Convolution-v2@251307b dcn.py",
    stages=(2, 3, 4),
    cifar_stages=(2, 3),
    lr_scale=(("offset", 0.1),),
    aliases=("deformable", "deformable-convolution", "DeformConv", "dconv"),
    notes=(
        "The default is v2 (Deformable ConvNets v2, CVPR 2019, arXiv 1811.11168); modulated=False is v1.",
        "Stages 2 to 4, first 3x3 of a stage included, as v2; v1 has stage 4 only.",
        "Its accuracy is published for detection and segmentation, not for image classification.",
    ),
)


class Attention(nn.Module):
    """(N, C_in, H, W) -> (N, C, H', W'), H' = ceil(H / stride). Sampling is never of half precision.

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
        offset, mask = self.predict_offsets(x)
        y = (convolve_fused if x.is_cuda else convolve_gathered)(self.conv, x, offset, mask)
        return y.contiguous(memory_format=torch.channels_last if is_channels_last(x) else torch.contiguous_format)

    def predict_offsets(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return d, (N, 2 k^2 G, H', W'), in pixels, and m, (N, k^2 G, H', W'), or None for v1."""
        maps: Tensor = self.offset(x)
        if not self.modulated:
            return maps, None
        return maps[:, : 2 * self.taps], self.mask_scale * torch.sigmoid(maps[:, 2 * self.taps :])

    def observe(self, inputs: tuple[Tensor, ...], output: Tensor) -> list[Observation]:
        """Return the offsets of every tap."""
        k, d = self.conv.kernel_size[0], self.conv.dilation[0]
        side = (torch.arange(k) - k // 2) * d
        taps = torch.cartesian_prod(side, side).repeat(self.taps // k**2, 1)
        offset, _ = self.predict_offsets(inputs[0])
        return [Observation("offsets", "offset of each tap", offset.unflatten(1, (-1, 2)), taps=taps)]


def convolve_fused(conv: nn.Conv2d, x: Tensor, offset: Tensor, mask: Tensor | None) -> Tensor:
    """Run the layer with torchvision's operator, in float32 if x is half precision: it has no bfloat16 kernel."""
    with torch.autocast(x.device.type, enabled=False):
        full = torch.promote_types(x.dtype, torch.float32)
        weight, bias = conv.weight.to(full), None if conv.bias is None else conv.bias.to(full)
        geometry = {"stride": conv.stride, "padding": conv.padding, "dilation": conv.dilation}
        y: Tensor = deform_conv2d(
            x.to(full), offset.to(full), weight, bias, **geometry, mask=None if mask is None else mask.to(full)
        )
    return y.to(x.dtype)


def convolve_gathered(conv: nn.Conv2d, x: Tensor, offset: Tensor, mask: Tensor | None) -> Tensor:
    """Run the same layer as weighted sums of pixels and one product: on a CPU five to nine times as fast to train."""
    n, c, h, w = x.shape
    g, k, size = conv.groups, conv.kernel_size[0], offset.shape[2:]
    deformable = offset.shape[1] // (2 * k * k)
    full = torch.promote_types(x.dtype, torch.float32)
    index, weights = bilinear_corners(_tap_positions(conv, offset.to(full)), (h, w))
    if mask is not None:
        weights = weights * mask.to(full).unflatten(1, (deformable, -1)).permute(0, 3, 4, 2, 1)[..., None]
    image = torch.arange(n, device=x.device).view(-1, 1, 1, 1, 1, 1) * (h * w)
    row = (index + image) * deformable + torch.arange(deformable, device=x.device)[:, None]
    pixels = x.permute(0, 2, 3, 1).reshape(-1, c // deformable).to(full)  # (N H W G, C_in / G)
    columns = F.embedding_bag(row.view(-1, 4), pixels, mode="sum", per_sample_weights=weights.view(-1, 4))
    columns = (
        columns.to(x.dtype).view(-1, k * k, g, c // g).permute(2, 0, 1, 3).flatten(2)
    )  # (g, N H' W', k^2 C_in / g)
    kernel = conv.weight.unflatten(0, (g, -1)).permute(0, 3, 4, 2, 1).flatten(1, 3)  # (g, k^2 C_in / g, C / g)
    y = (columns @ kernel).transpose(0, 1).reshape(n, *size, -1)
    return (y if conv.bias is None else y + conv.bias.to(y.dtype)).permute(0, 3, 1, 2)


def _tap_positions(conv: nn.Conv2d, offset: Tensor) -> Tensor:
    """Return where each tap reads, in pixels: (N, H', W', k^2, G, 2) as (y, x)."""
    k, (rows, columns) = conv.kernel_size[0], offset.shape[2:]
    reach = torch.arange(k, device=offset.device) * conv.dilation[0] - int(conv.padding[0])
    starts = (torch.arange(side, device=offset.device) * conv.stride[0] for side in (rows, columns))
    y, x = (start[:, None] + reach for start in starts)  # (H', k), (W', k)
    shape = (rows, columns, k, k)
    taps = torch.stack([y[:, None, :, None].expand(shape), x[:, None].expand(shape)], -1).flatten(2, 3)
    return offset.unflatten(1, (-1, k * k, 2)).permute(0, 4, 5, 2, 1, 3).contiguous() + taps[:, :, :, None]


def bilinear_corners(positions: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return the four pixels around positions (..., 2) and their bilinear weights: (..., 4) each.

    A pixel is row * W + column; one outside the map has weight 0.
    """
    low = positions.detach().floor()
    y1, x1 = (positions - low).unbind(-1)
    weights = torch.stack([(1 - y1) * (1 - x1), (1 - y1) * x1, y1 * (1 - x1), y1 * x1], -1)
    y, x = (low[..., i, None] + low.new_tensor(step) for i, step in enumerate(((0, 0, 1, 1), (0, 1, 0, 1))))
    inside = (y >= 0) & (y < size[0]) & (x >= 0) & (x < size[1])
    pixel = y.clamp(0, size[0] - 1) * size[1] + x.clamp(0, size[1] - 1)
    return pixel.nan_to_num().long(), weights * inside
