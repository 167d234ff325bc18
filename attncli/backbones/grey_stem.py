"""Networks of one input channel: the first convolution sees grey values, the weights are those of colour summed.

Images have three planes everywhere in attncli. With model.channels=1 the stem takes their luminance (ITU-R BT.601, as
Pillow's mode L), which for grey images is any of the planes, and its convolution has one input channel. Its weights are
the sum of those that it would have for the three planes, random or pretrained. So on grey images the network begins as
the very function that the network of three channels is.
"""

import torch
from torch import Tensor, nn

from attncli.errors import UserError

LUMINANCE = (0.299, 0.587, 0.114)  # of red, green and blue; ITU-R BT.601


class LuminanceConv2d(nn.Conv2d):
    """A convolution of the luminance of images (N, 3, H, W), or of grey images (N, 1, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C, H', W')."""
        if x.shape[1] == 3:
            red, green, blue = LUMINANCE
            x = red * x[:, :1] + green * x[:, 1:2] + blue * x[:, 2:]
        return super().forward(x)


def convert_stem_to_grey(net: nn.Module, name: str) -> None:
    """Make the convolution of a network that takes the images a `LuminanceConv2d`, in place.

    Args:
        net: The network.
        name: The backbone, for the error.

    Raises:
        UserError: No convolution of three input channels is at the front.
    """
    stem = next((module for module in net.modules() if isinstance(module, nn.Conv2d)), None)
    if stem is None or type(stem) is not nn.Conv2d or stem.in_channels != 3:
        raise UserError(f"model.channels: {name} does not begin with a convolution of three channels", "leave it at 3")
    stem.__class__ = LuminanceConv2d
    stem.in_channels = 1
    stem.weight = nn.Parameter(sum_colours(stem.weight.detach()))


def sum_colours(weight: Tensor) -> Tensor:
    """Return the weights (C, 1, h, w) for grey images of those for three equal planes, (C, 3, h, w)."""
    return weight.sum(1, keepdim=True)


def fit_stem_weight(weight: Tensor, wanted: torch.Size | None) -> Tensor:
    """Return the weight of a file for three planes summed if a network wants it for one channel, else unchanged."""
    is_colour_for_grey = wanted is not None and weight.shape == (*wanted[:1], 3, *wanted[2:]) and wanted[1] == 1
    return sum_colours(weight) if is_colour_for_grey and weight.ndim == 4 else weight
