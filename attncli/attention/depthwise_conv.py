"""Depth-wise convolutions that torch's CPU kernels compute wrong, or never finish, in half precision."""

import torch
from torch import Tensor, nn

# Measured with torch 2.14.1 (oneDNN 3.12), ONEDNN_MAX_CPU_ISA from AVX512_CORE_BF16 on: 3 to 16 channels, stride 1,
# kernels of 15 and more columns, 31 and more columns of output, channels_last.
WIDEST_FINISHED_KERNEL = 13
MOST_UNFINISHED_CHANNELS = 16


class Float32OnCpuConv2d(nn.Conv2d):
    """A convolution that a CPU computes in float32; elsewhere, and in float32, it is an nn.Conv2d."""

    def forward(self, x: Tensor) -> Tensor:
        """As nn.Conv2d; (N, C_in, H, W) -> (N, C, H', W') in the format that autocast asks for."""
        is_half_precision = torch.is_autocast_enabled("cpu") or x.dtype in (torch.bfloat16, torch.float16)
        if x.device.type != "cpu" or not is_half_precision:
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            y = super().forward(x.float())
        return y.to(torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype)


def needs_float32_on_cpu(conv: nn.Conv2d) -> bool:
    """Return whether torch's bf16 and fp16 kernels of CPUs cannot be used for a convolution.

    Dilated depth-wise ones read memory that nothing wrote at some shapes (torch 2.15: channels_last, 32 channels,
    32 x 32 px, dilation 2), so that gradients can be NaN. For depth-wise ones of few channels and wide kernels,
    oneDNN writes machine code without end: the first call never returns.
    """
    if conv.groups != conv.in_channels:
        return False
    is_endless = conv.kernel_size[1] > WIDEST_FINISHED_KERNEL and conv.in_channels <= MOST_UNFINISHED_CHANNELS
    return is_endless or max(conv.dilation) > 1


def replace_unsafe_convs(module: nn.Module) -> None:
    """Let every nn.Conv2d in a module, or the module itself, that needs it be computed in float32 on CPUs."""
    for conv in module.modules():
        if type(conv) is nn.Conv2d and needs_float32_on_cpu(conv):
            conv.__class__ = Float32OnCpuConv2d


def make_depthwise_conv(channels: int, kernel: tuple[int, int], dilation: int = 1) -> nn.Conv2d:
    """Return a depth-wise convolution with bias that keeps the size of the map; the kernel's sides are odd."""
    padding = (dilation * (kernel[0] // 2), dilation * (kernel[1] // 2))
    conv = nn.Conv2d(channels, channels, kernel, 1, padding, dilation, channels)
    replace_unsafe_convs(conv)
    return conv
