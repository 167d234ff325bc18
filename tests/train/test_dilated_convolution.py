"""Dilated depth-wise convolutions as plain ones of smaller maps."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from attncli.train.cpu_convolutions import speed_up_convolutions
from attncli.train.depthwise_convolution import AVX512_BF16
from attncli.train.dilated_convolution import (
    DilatedDepthwiseConvolution,
    is_dilated_depthwise,
    join_pixels,
    split_pixels,
)


@pytest.mark.parametrize(
    ("kernel", "dilation", "size"),
    [((7, 7), (3, 3), (9, 9)), ((7, 7), (3, 3), (8, 4)), ((1, 5), (2, 4), (5, 13)), ((3, 5), (2, 1), (7, 2))],
)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_results_and_gradients_are_those_of_torch(
    kernel: tuple[int, int], dilation: tuple[int, int], size: tuple[int, int], layout: torch.memory_format
) -> None:
    """In float64, also where the map is smaller than the reach of the kernel."""
    torch.manual_seed(0)
    padding = (dilation[0] * (kernel[0] // 2), dilation[1] * (kernel[1] // 2))
    conv = DilatedDepthwiseConvolution(8, 8, kernel, 1, padding, dilation, groups=8).double()
    conv.gradient_rule = AVX512_BF16
    leaves = [
        torch.randn(2, 8, *size, dtype=torch.float64).to(memory_format=layout).requires_grad_(),
        *conv.parameters(),
    ]
    ours = conv._convolve(*leaves)
    theirs = F.conv2d(*leaves, 1, padding, dilation, 8)
    torch.testing.assert_close(ours, theirs)
    weights = torch.randn_like(theirs)
    for our, their in zip(
        torch.autograd.grad(ours, leaves, weights), torch.autograd.grad(theirs, leaves, weights), strict=True
    ):
        torch.testing.assert_close(our, their)


def test_pixels_that_lie_apart_are_a_map() -> None:
    """Every second of five columns, in the order of their first columns; what is short is filled up with zeros."""
    x = torch.arange(5.0).view(1, 1, 1, 5)
    maps = split_pixels(x, (1, 2))
    assert maps[:, 0, 0].tolist() == [[0, 2, 4], [1, 3, 0]]
    assert torch.equal(join_pixels(maps, (1, 2), (1, 5)), x)


@pytest.mark.parametrize(
    ("conv", "expected"),
    [
        (nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=8), True),
        (nn.Conv2d(8, 8, (1, 7), padding=(0, 9), dilation=3, groups=8), True),
        (nn.Conv2d(8, 8, 3, padding=1, groups=8), False),
        (nn.Conv2d(8, 8, 3, padding=1, dilation=2, groups=8), False),
        (nn.Conv2d(8, 8, 3, 2, padding=2, dilation=2, groups=8), False),
        (nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=4), False),
        (nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=8, padding_mode="reflect"), False),
    ],
)
def test_which_convolutions_are_meant(conv: nn.Conv2d, expected: bool) -> None:
    """Dilated ones with a kernel per channel that keep the size of the map; a network's get the faster way."""
    assert is_dilated_depthwise(conv) == expected
    speed_up_convolutions(conv, torch.device("cpu"), "fp32")
    assert (type(conv) is DilatedDepthwiseConvolution) == expected
