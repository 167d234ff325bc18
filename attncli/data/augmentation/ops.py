"""Operations of RandAugment and TrivialAugment on batches, each image by its own value.

Images are float32 (n, 3, H, W) on a scale of 0 to 255; values are (n,). The values mean the same as in torchvision's
functional transforms, and the tests compare with these. Results are whole numbers.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Op = Callable[[Tensor, Tensor], Tensor]
GREY = (0.2989, 0.587, 0.114)  # ITU-R BT.601


def identity(x: Tensor, value: Tensor) -> Tensor:
    """Return the image unchanged."""
    return x


def shear_x(x: Tensor, value: Tensor) -> Tensor:
    """Move each row to the left by `value` pixels per row below the upper edge."""
    slant = value * (x.shape[-2] / x.shape[-1])
    return _apply_affine(x, {(0, 1): slant, (0, 2): slant})


def shear_y(x: Tensor, value: Tensor) -> Tensor:
    """Move each column up by `value` pixels per column right of the left edge."""
    slant = value * (x.shape[-1] / x.shape[-2])
    return _apply_affine(x, {(1, 0): slant, (1, 2): slant})


def translate_x(x: Tensor, value: Tensor) -> Tensor:
    """Move to the right by whole pixels."""
    return _apply_affine(x, {(0, 2): -2 * value.trunc() / x.shape[-1]})


def translate_y(x: Tensor, value: Tensor) -> Tensor:
    """Move down by whole pixels."""
    return _apply_affine(x, {(1, 2): -2 * value.trunc() / x.shape[-2]})


def rotate(x: Tensor, value: Tensor) -> Tensor:
    """Rotate anticlockwise about the centre by `value` degrees."""
    angle, aspect = value.deg2rad(), x.shape[-2] / x.shape[-1]
    cos, sin = angle.cos(), angle.sin()
    return _apply_affine(x, {(0, 0): cos, (0, 1): -sin * aspect, (1, 0): sin / aspect, (1, 1): cos})


def brightness(x: Tensor, value: Tensor) -> Tensor:
    """Multiply every pixel by 1 + `value`."""
    return _blend_images(torch.zeros_like(x), x, value)


def colour(x: Tensor, value: Tensor) -> Tensor:
    """Multiply the difference from the grey image by 1 + `value`."""
    return _blend_images(_convert_to_grey(x), x, value)


def contrast(x: Tensor, value: Tensor) -> Tensor:
    """Multiply the difference from the mean grey by 1 + `value`."""
    return _blend_images(_convert_to_grey(x).mean((1, 2, 3), keepdim=True), x, value)


def sharpness(x: Tensor, value: Tensor) -> Tensor:
    """Multiply the difference from a smoothed image by 1 + `value`; the outermost pixels stay."""
    if min(x.shape[-2:]) < 3:
        return x
    # sums of whole numbers: on CUDA a convolution rounds them in TF32, and tries its kernels for each number of images
    rows = x[..., :-2, :] + x[..., 1:-1, :] + x[..., 2:, :]
    weighted_sum = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:] + 4 * x[..., 1:-1, 1:-1]
    smooth = x.clone()
    smooth[..., 1:-1, 1:-1] = (weighted_sum / 13).round()
    return _blend_images(smooth, x, value)


def posterize(x: Tensor, value: Tensor) -> Tensor:
    """Keep the upper `value` bits of each pixel."""
    step = torch.exp2(8 - value)[:, None, None, None]
    return (x / step).floor() * step


def solarize(x: Tensor, value: Tensor) -> Tensor:
    """Replace pixels x >= `value` by 255 - x."""
    return torch.where(x >= value[:, None, None, None], 255 - x, x)


def autocontrast(x: Tensor, value: Tensor) -> Tensor:
    """Stretch each plane to the whole scale; a plane of one value stays."""
    low, high = x.amin((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
    stretched = (x - low) * (255 / (high - low).clamp_min(1))
    return torch.where(high > low, stretched, x).floor()


def equalize(x: Tensor, value: Tensor) -> Tensor:
    """Equalise the histogram of each plane in whole numbers, as Pillow does."""
    values = x.flatten(0, 1).flatten(1).long()  # (3 n, H W)
    count = torch.zeros(len(values), 256, dtype=torch.int64, device=x.device)
    count.scatter_add_(1, values, torch.ones_like(values))
    largest = values.amax(1, keepdim=True)
    step = (values.shape[1] - count.gather(1, largest)) // 255  # without the brightest value's count
    count_before = count.cumsum(1) - count
    table = ((count_before + step // 2) // step.clamp_min(1)).clamp_max(255)
    mapped = torch.where(step > 0, table.gather(1, values), values)
    return mapped.view(x.shape).to(x.dtype)


OPS: tuple[Op, ...] = (
    identity,
    shear_x,
    shear_y,
    translate_x,
    translate_y,
    rotate,
    brightness,
    colour,
    contrast,
    sharpness,
    posterize,
    solarize,
    autocontrast,
    equalize,
)


def _apply_affine(x: Tensor, entries: dict[tuple[int, int], Tensor]) -> Tensor:
    """Sample x by nearest neighbour under an affine map from result to source, on scales of -1 to 1; black outside.

    `entries` are the entries (n,) of the 2x3 matrices that differ from those of the identity. No matrix product
    computes the places, as in torch's `affine_grid`: on CUDA with tf32 it rounds them to 10 bits of mantissa.
    """
    theta = torch.zeros(len(x), 2, 3, device=x.device)
    theta[:, 0, 0] = theta[:, 1, 1] = 1
    for (row, column), value in entries.items():
        theta[:, row, column] = value
    by_x, by_y, constant = theta[:, None, None].unbind(-1)  # (n, 1, 1, 2) each
    places_y, places_x = (_place_pixels(length, x) for length in x.shape[-2:])
    grid = constant.addcmul(by_y, places_y[:, None, None]).addcmul(by_x, places_x[:, None])  # (n, H, W, 2)
    return F.grid_sample(x, grid, mode="nearest", padding_mode="zeros", align_corners=False)


def _place_pixels(length: int, like: Tensor) -> Tensor:
    """Return the centres of the pixels of an axis, (length,), where its outer edges are at -1 and 1."""
    outermost = 1 - 1 / length
    return torch.linspace(-outermost, outermost, length, device=like.device, dtype=like.dtype)


def _blend_images(base: Tensor, x: Tensor, value: Tensor) -> Tensor:
    """Return base + (1 + value) (x - base), clipped to the scale and rounded down."""
    return (x + value[:, None, None, None] * (x - base)).clamp(0, 255).floor()


def _convert_to_grey(x: Tensor) -> Tensor:
    """Return the grey image (n, 1, H, W) of (n, 3, H, W)."""
    red, green, blue = (x[:, i : i + 1] * share for i, share in enumerate(GREY))
    return (red + green + blue).floor()
