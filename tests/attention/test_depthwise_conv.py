"""Depth-wise convolutions that half precision on CPUs computes wrong or never finishes."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from attncli.attention.depthwise_conv import Float32OnCpuConv2d, make_depthwise_conv, replace_unsafe_convs

# Layouts, channels and kernels at the border of what oneDNN 3.12 finishes, on a map of 32 px.
STEP = """
import torch
from torch import nn
from attncli.attention.depthwise_conv import replace_unsafe_convs
for channels, kernel in [(16, (1, 13)), (16, (1, 14)), (16, (1, 15)), (3, (1, 21)), (16, (21, 21)), (17, (1, 21))]:
    padding = [k // 2 for k in kernel]
    conv = nn.Conv2d(channels, channels, kernel, padding=padding, groups=channels).to(memory_format=torch.channels_last)
    replace_unsafe_convs(conv)
    x = torch.randn(2, channels, 32, 32).to(memory_format=torch.channels_last).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = conv(x)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), conv(x), rtol=0.03, atol=0.03)
    y.float().sum().backward()
    assert x.grad.isfinite().all()
"""


def test_wide_kernels_end_in_bf16() -> None:
    """In a process of its own: if one does not end, this test fails after two minutes and the others go on."""
    subprocess.run([sys.executable, "-c", STEP], check=True, timeout=120)


@pytest.mark.parametrize(
    ("conv", "is_replaced"),
    [
        (nn.Conv2d(16, 16, (1, 15), groups=16), True),
        (nn.Conv2d(16, 16, (15, 1), groups=16), False),
        (nn.Conv2d(17, 17, (1, 15), groups=17), False),
        (nn.Conv2d(16, 16, (1, 15), groups=4), False),
        (nn.Conv2d(64, 64, 3, dilation=2, groups=64), True),
        (nn.Conv2d(64, 64, 3, dilation=2), False),
    ],
)
def test_which_are_replaced(conv: nn.Conv2d, is_replaced: bool) -> None:
    """Depth-wise ones that are dilated, or of few channels and wide kernels; their numbers stay in float32."""
    net = nn.Sequential(conv)
    x = torch.randn(1, conv.in_channels, 16, 16)
    before = net(x)
    replace_unsafe_convs(net)
    assert isinstance(conv, Float32OnCpuConv2d) == is_replaced
    assert torch.equal(net(x), before)


def test_the_maps_keep_their_size() -> None:
    """For odd kernels, dilated or not."""
    for kernel, dilation in (((1, 21), 1), ((21, 1), 1), ((5, 5), 3)):
        assert make_depthwise_conv(4, kernel, dilation)(torch.randn(1, 4, 9, 9)).shape == (1, 4, 9, 9)
