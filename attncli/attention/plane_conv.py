"""Convolutions between a plane or two, as the spatial gates of CBAM and Triplet Attention have them.

A convolution of 2 planes to 1 fills neither a vector register nor a matrix product. On a CPU, and in bf16, it is
therefore taken as one of rows: the numbers of a row, of all planes, are the channels of a convolution along H whose
weights are the kernel's rows, shifted along W (a banded matrix, O W x I W for each row of the kernel). It does W / k
times the arithmetic in matrix products that run at full speed: up to 32 columns it takes a third to a half of the time.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MAX_ROW_WIDTH = 32  # columns; from about 50 on the plain way is faster


class PlaneConv2d(nn.Conv2d):
    """nn.Conv2d of stride 1 that keeps the size, for few planes; (N, I, H, W) -> (N, O, H, W)."""

    def __init__(self, planes_in: int, planes: int, kernel_size: int) -> None:
        super().__init__(planes_in, planes, kernel_size, padding=kernel_size // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve x. Unless it is convolved by rows, x is best in channels_last."""
        if x.dtype == torch.bfloat16 and x.device.type == "cpu" and x.shape[3] <= MAX_ROW_WIDTH:
            return convolve_rows(x, self.weight)
        return super().forward(x)


def convolve_rows(x: Tensor, weight: Tensor) -> Tensor:
    """Convolve x, (N, I, H, W), with weight, (O, I, k, k), k odd, as one convolution of whole rows along H."""
    n, planes_in, h, w = x.shape
    planes, _, k, _ = weight.shape
    rows = x.permute(0, 2, 1, 3).reshape(n, h, 1, planes_in * w).permute(0, 3, 1, 2)  # (N, I W, H, 1)
    y = F.conv2d(rows, make_banded_kernel(weight, w).unsqueeze(3), padding=(k // 2, 0))
    return y.permute(0, 2, 3, 1).reshape(n, h, planes, w).permute(0, 2, 1, 3)


def make_banded_kernel(weight: Tensor, w: int) -> Tensor:
    """Return (O, I, k, k) as (O w, I w, k): what column j of the input adds to column i of the output, for each row."""
    planes, planes_in, k, _ = weight.shape
    half_kernel = k // 2
    offsets = torch.arange(w)[None, :] - torch.arange(w)[:, None] + w - 1  # j - i, from 0
    padding = w - 1 - half_kernel  # to every offset; negative, for a row shorter than the kernel, it crops
    padded_weight = F.pad(weight, (padding, padding))
    return padded_weight[..., offsets].permute(0, 3, 1, 4, 2).reshape(planes * w, planes_in * w, k)
