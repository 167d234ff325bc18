"""Faster dilated depth-wise convolutions on CPUs, with the same result to rounding.

The pixels that lie `dilation` apart are a small map, and a dilated convolution is a plain one of each of these maps.
The kernels of CPUs are slow with dilation, and wrong with it in half precision. Taps that only meet padding are left
out.
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attncli.train.depthwise_convolution import DepthwiseConvolution, convolve_depthwise
from attncli.train.small_map_convolution import find_used_taps


def is_dilated_depthwise(convolution: nn.Conv2d) -> bool:
    """Return whether it is dilated, has one kernel per channel, and keeps the size of a map by padding with zeros."""
    return (
        max(convolution.dilation) > 1
        and 1 < convolution.groups == convolution.in_channels == convolution.out_channels
        and max(convolution.stride) == 1
        and convolution.padding_mode == "zeros"
        and all(side % 2 == 1 for side in convolution.kernel_size)
        and convolution.padding
        == tuple(
            dilation * (side // 2) for dilation, side in zip(convolution.dilation, convolution.kernel_size, strict=True)
        )
    )


class DilatedDepthwiseConvolution(DepthwiseConvolution):
    """A dilated depth-wise convolution of maps (N, C, H, W), computed as plain ones of smaller maps."""

    def _convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        dilation = cast(tuple[int, int], self.dilation)
        maps = split_pixels(x, dilation)
        taps = [find_used_taps(maps.shape[axis], weight.shape[axis], 1, weight.shape[axis] // 2) for axis in (2, 3)]
        rows, columns = (slice(used.start, used.stop) for used in taps)
        padding = (weight.shape[2] // 2 - rows.start, weight.shape[3] // 2 - columns.start)
        y = convolve_depthwise(maps, weight[:, :, rows, columns], bias, (1, 1), padding, self.gradient_rule)
        return join_pixels(y, dilation, (x.shape[2], x.shape[3]))


def split_pixels(x: Tensor, steps: tuple[int, int]) -> Tensor:
    """Return the maps of pixels that lie `steps` apart, (N a b, C, ceil(H / a), ceil(W / b)), of x, (N, C, H, W).

    Maps that are short of a row or column are filled up with zeros. The result is in channels_last.
    """
    a, b = steps
    padded = F.pad(x, (0, -x.shape[3] % b, 0, -x.shape[2] % a)).permute(0, 2, 3, 1)
    pixels = padded.unflatten(2, (-1, b)).unflatten(1, (-1, a))  # (N, H / a, a, W / b, b, C)
    return pixels.permute(0, 2, 4, 1, 3, 5).flatten(0, 2).permute(0, 3, 1, 2)


def join_pixels(maps: Tensor, steps: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Undo `split_pixels` for maps of `size` (H, W); the result, (N, C, H, W), is in channels_last."""
    pixels = maps.permute(0, 2, 3, 1).unflatten(0, (-1, *steps))  # (N, a, b, H / a, W / b, C)
    whole = pixels.permute(0, 3, 1, 4, 2, 5).flatten(3, 4).flatten(1, 2)[:, : size[0], : size[1]]
    return whole.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
