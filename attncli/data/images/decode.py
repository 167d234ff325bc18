"""Image files to uint8 pixels."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image

from attncli.data.images.arrays import ImagePixels
from attncli.data.images.formats import open_image
from attncli.data.images.pixel_rules import (
    PLAIN_COLOUR,
    PLAIN_RULES,
    PixelRules,
    convert_to_rgb,
    find_traits,
    is_plain_colour,
    measure_upright_size,
)


@dataclass(frozen=True)
class Target:
    """The size (H, W) of decoded images: of the centre square, or, with `like`, the size that all files must have.

    `like` is the file whose size it is. `share` is the side of the square as a share of the image's shorter side,
    before resizing.
    """

    height: int
    width: int
    like: str | None = None
    share: float = field(default=1.0, repr=False)


class OtherSizeError(Exception):
    """An image whose size is not that of the others."""


class DecodedImage(NamedTuple):
    """The pixels of an image and its traits (see `pixel_rules`)."""

    pixels: ImagePixels
    traits: set[str]


def read_image_size(path: Path | BinaryIO, rules: PixelRules = PLAIN_RULES) -> tuple[int, int]:
    """Return (H, W) from the header of an image file. Raises what Pillow raises for a file that is no image."""
    with open_image(path, rules) as image:
        return measure_upright_size(image, rules)


def read_header(path: Path | BinaryIO, rules: PixelRules) -> tuple[tuple[int, int], set[str]]:
    """Return (H, W) and the traits from the header of an image file. Raises as `decode_image` does."""
    with open_image(path, rules) as image:
        return measure_upright_size(image, rules), find_traits(image, rules)


def decode_image(path: Path | BinaryIO, target: Target, rules: PixelRules = PLAIN_RULES) -> DecodedImage:
    """Return an image file as (H, W, 3), RGB; grey is repeated, and the rest is as `rules` say.

    Without `target.like`, the centre square, or a share of it, is resized to the target in one resampling (bilinear,
    with antialiasing).

    Raises:
        OtherSizeError: if the image does not have the size that it must have.
        DeepGreyError: for a 16-bit image whose range is not known.
        Exception: what Pillow raises for a file that is no image.
    """
    with open_image(path, rules) as opened:
        traits = find_traits(opened, rules)
        image = convert_to_rgb(opened, rules)
        if target.like is None and (target.share < 1 or image.size != (target.width, target.height)):
            side = min(image.size) * target.share
            x_start, y_start = ((length - side) / 2 for length in image.size)
            box = (x_start, y_start, x_start + side, y_start + side)
            image = image.resize((target.width, target.height), Image.Resampling.BILINEAR, box=box)
        if image.size != (target.width, target.height):
            raise OtherSizeError(f"{image.width} x {image.height}")
        return _finish_image(image, traits)


def decode_whole(path: Path | BinaryIO, side: int, rules: PixelRules = PLAIN_RULES) -> DecodedImage:
    """Return an image file as (h, w, 3) with its own aspect ratio, its shorter side at most `side`.

    Colours and errors are as in `decode_image`.
    """
    with open_image(path, rules) as opened:
        traits = find_traits(opened, rules)
        image = convert_to_rgb(opened, rules)
        height, width = shrink_size(image.height, image.width, side)
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        return _finish_image(image, traits)


def _finish_image(image: Image.Image, traits: set[str]) -> DecodedImage:
    pixels = np.asarray(image)
    return DecodedImage(pixels, traits | {PLAIN_COLOUR} if is_plain_colour(pixels) else traits)


def shrink_size(height: int, width: int, side: int) -> tuple[int, int]:
    """Return the size (h, w) at which the shorter side is at most `side`."""
    factor = min(1.0, side / min(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


def crop_and_resize(
    image: ImagePixels, box: tuple[int, int, int, int], size: tuple[int, int], flip: bool
) -> ImagePixels:
    """Return a box (top, left, height, width) of an image (h, w, 3), resized to (H, W), mirrored if `flip`."""
    first_row, first_column, height, width = box
    crop = np.ascontiguousarray(image[first_row : first_row + height, first_column : first_column + width])
    if (height, width) != size:
        crop = np.asarray(Image.fromarray(crop).resize((size[1], size[0]), Image.Resampling.BILINEAR))
    return crop[:, ::-1] if flip else crop
