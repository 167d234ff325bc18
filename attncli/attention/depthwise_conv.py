"""A depth-wise convolution that keeps the size of the map."""

from torch import nn

from attncli.attention.safe_convolution import replace_unsafe_convolutions


def make_depthwise_conv(channels: int, kernel: tuple[int, int], dilation: int = 1) -> nn.Conv2d:
    """Return a depth-wise convolution with bias that keeps the size of the map; the kernel's sides are odd."""
    padding = (dilation * (kernel[0] // 2), dilation * (kernel[1] // 2))
    conv = nn.Conv2d(channels, channels, kernel, 1, padding, dilation, channels)
    replace_unsafe_convolutions(conv)
    return conv
