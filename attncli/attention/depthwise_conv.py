"""A dilated depth-wise convolution that torch's CPU kernels compute right in half precision."""

import torch
from torch import Tensor, nn


class Float32OnCpuConv2d(nn.Conv2d):
    """A dilated depth-wise convolution, which on a CPU is computed in float32.

    torch 2.15's bf16 kernel for it reads memory that nothing wrote at some shapes (channels_last, 32 channels,
    32 x 32 px, dilation 2), so that gradients can be NaN.
    """

    def forward(self, x: Tensor) -> Tensor:
        """As nn.Conv2d; (N, C_in, H, W) -> (N, C, H', W') in the format that autocast asks for."""
        is_half_precision = torch.is_autocast_enabled("cpu") or x.dtype in (torch.bfloat16, torch.float16)
        if x.device.type != "cpu" or not is_half_precision:
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            y = super().forward(x.float())
        return y.to(torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype)


def make_depthwise_conv(channels: int, kernel: tuple[int, int], dilation: int = 1) -> nn.Conv2d:
    """Return a depth-wise convolution with bias that keeps the size of the map; the kernel's sides are odd."""
    padding = (dilation * (kernel[0] // 2), dilation * (kernel[1] // 2))
    conv_class = Float32OnCpuConv2d if dilation > 1 else nn.Conv2d
    return conv_class(channels, channels, kernel, 1, padding, dilation, channels)
