"""STN: a small network looks at the image and chooses the warp through which the rest sees it.

    theta = f_loc(x)                                     (N, 2, 3)
    (x_s, y_s) = theta (x_t, y_t, 1)                     source of each output pixel, coordinates in [-1, 1]
    y = bilinear sample of x at (x_s, y_s), 0 outside    (N, C, H, W), one warp for all channels

f_loc: 7x7 convolution to 8, max-pool, ReLU, 5x5 convolution to 10, max-pool, ReLU, 3x3 positions, linear to 32,
ReLU, linear to theta, whose weight starts at 0 and bias at the identity. Learns 8 (49 C + 1) + 10 (200 + 1) +
32 (90 + 1) + 6 (32 + 1) numbers: 5520 for one channel. Cost: f_loc, and four reads per pixel.

`transform`: "affine" (6 numbers), "attention" (3: scale and shift) or "projective" (8), families of the paper.

Where the sources differ: the authors released no code; the maths is that of PyTorch's tutorial, whose 3x3 positions
hold for images of 26 to 29 pixels a side only. For other sizes the map is average-pooled to 3x3, and below 18 pixels
the convolutions are padded so that something is left of it. `align_corners` is False, as in torch since 1.3; the
tutorial was written when it was True.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from attncli.attention.card import Card
from attncli.attention.observation import Observation
from attncli.attention.ops import promote_half

card = Card(
    title="Spatial Transformer Networks",
    venue="NIPS",
    year=2015,
    arxiv="1506.02025",
    site="input",
    code="pytorch/tutorials@0023ff0 intermediate_source/spatial_transformer_tutorial.py",
    sites=("block-input", "stage"),
    lr_scale=(("localise", 0.1), ("head", 0.1)),
    aliases=("spatial-transformer", "spatial-transformer-network"),
    notes=(
        "f_loc learns at a tenth of the network's rate: at the tutorial's 0.01 if the network has 0.1. At the full "
        "rate it turns away from the image (resnet18 on the digits diverged at 0.1 and 0.05).",
        "Starts as the identity up to the rounding of coordinates.",
        "Images not of 26 to 29 pixels: f_loc's map is average-pooled to 3x3, a change of the tutorial's model.",
        "Images below 18 pixels: f_loc's convolutions are padded too.",
    ),
)

NUMBERS: dict[str, list[float]] = {  # the numbers that f_loc gives, at the identity
    "affine": [1, 0, 0, 0, 1, 0],
    "attention": [1, 0, 0],
    "projective": [1, 0, 0, 0, 1, 0, 0, 0],
}
NEAREST = 0.01  # the least depth of a projective warp: what is nearer or behind is sampled far outside


class Attention(nn.Module):
    """(N, C, H, W) -> (N, C, H, W).

    `loc_channels` and `loc_hidden` are the widths of f_loc. Raises ValueError for an image below 4 pixels a side
    or an unknown transform.
    """

    def __init__(
        self,
        channels: int,
        size: tuple[int, int],
        *,
        transform: Literal["affine", "attention", "projective"] = "affine",
        align_corners: bool = False,
        padding_mode: Literal["zeros", "border", "reflection"] = "zeros",
        mode: Literal["bilinear", "bicubic"] = "bilinear",
        loc_channels: tuple[int, int] = (8, 10),
        loc_hidden: int = 32,
    ) -> None:
        super().__init__()
        if min(size) < 4:
            raise ValueError(f"an image of {size[0]}x{size[1]} is too small to localise anything: 4 pixels at least")
        if transform not in NUMBERS:
            raise ValueError(f"transform={transform!r}: one of {', '.join(NUMBERS)}")
        self.transform, self.align_corners = transform, align_corners
        self.padding_mode, self.mode = padding_mode, mode
        self.starts_as_identity = True  # but for rounding
        padded = min(size) < 18
        a, b = loc_channels
        self.localise = nn.Sequential(
            nn.Conv2d(channels, a, 7, padding=3 if padded else 0),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Conv2d(a, b, 5, padding=2 if padded else 0),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(3),
            nn.Flatten(),
            nn.Linear(b * 9, loc_hidden),
            nn.ReLU(),
        )
        self.head = nn.Linear(loc_hidden, len(NUMBERS[transform]))
        nn.init.zeros_(self.head.weight)
        with torch.no_grad():
            self.head.bias.copy_(torch.tensor(NUMBERS[transform]))

    def forward(self, x: Tensor) -> Tensor:
        """Warp x as f_loc asks. Coordinates, and so the sampling, are never of half precision."""
        theta = self.predict_transform(x)
        with torch.autocast(x.device.type, enabled=False):
            grid = self.sampling_grid(theta, x.shape)
            y = F.grid_sample(x.to(grid.dtype), grid, self.mode, self.padding_mode, self.align_corners)
        return y.to(x.dtype)

    def predict_transform(self, x: Tensor) -> Tensor:
        """Return the warp of each image: (N, 2, 3), or (N, 3, 3) if it is projective."""
        features = self.localise(x).to(self.head.weight.dtype)
        with torch.autocast(x.device.type, enabled=False):
            numbers = promote_half(self.head(features))
        zero, one = numbers.new_zeros(len(x)), numbers.new_ones(len(x))
        if self.transform == "attention":
            s, tx, ty = numbers.unbind(1)
            return torch.stack([s, zero, tx, zero, s, ty], 1).view(-1, 2, 3)
        if self.transform == "projective":
            return torch.cat([numbers, one[:, None]], 1).view(-1, 3, 3)
        return numbers.view(-1, 2, 3)

    def observe(self, inputs: tuple[Tensor, ...], output: Tensor) -> list[Observation]:
        """Return the grid that f_loc asks for."""
        return [
            Observation(
                "warp",
                "part of the image looked at",
                self.sampling_grid(self.predict_transform(inputs[0]), inputs[0].shape),
            )
        ]

    def sampling_grid(self, theta: Tensor, shape: torch.Size) -> Tensor:
        """Return where each output pixel of images of `shape` looks: (N, H, W, 2) as (x, y) in [-1, 1]."""
        points = make_affine_grid(theta, (shape[-2], shape[-1]), align_corners=self.align_corners)
        return points if theta.shape[1] == 2 else points[..., :2] / points[..., 2:].clamp_min(NEAREST)


def make_affine_grid(theta: Tensor, size: tuple[int, int], *, align_corners: bool) -> Tensor:
    """Return theta (x_t, y_t, 1) for each pixel of an image of `size` (H, W): (N, k, 3) -> (N, H, W, k).

    For k = 2 it is torch's `affine_grid`, without its matrix product: on CUDA with tf32 that rounds the coordinates to
    10 bits of mantissa.
    """
    y, x = (_place_pixels(length, theta, align_corners) for length in size)
    by_x, by_y, constant = theta[:, None, None].unbind(-1)  # (N, 1, 1, k) each
    return by_x * x[:, None] + (by_y * y[:, None, None] + constant)


def _place_pixels(length: int, like: Tensor, align_corners: bool) -> Tensor:
    """Return the coordinates of the pixels of an axis, (length,): -1 and 1 are the outermost centres, or the edges."""
    if length == 1:
        return like.new_zeros(1)
    centres = torch.linspace(-1, 1, length, dtype=like.dtype, device=like.device)
    return centres if align_corners else centres * ((length - 1) / length)
