"""Image files to uint8 pixels."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image

from attncli.data.images.arrays import ImagePixels
from attncli.data.images.formats import open_image
from attncli.data.images.pixel_rules import (
    OUTSIDE,
    PLAIN_COLOUR,
    PLAIN_RULES,
    PixelRules,
    convert_to_rgb,
    exceeds_range,
    find_traits,
    is_plain_colour,
    measure_upright_size,
)


@dataclass(frozen=True)
class Target:
    """The size (H, W) of decoded images: of the centre, or, with `like`, the size that all files must have.

    `like` is the file whose size it is. `share` is the part of each side of the largest centre box of the aspect ratio
    H : W that is kept, before resizing.
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

    Without `target.like`, the largest centre box of the target's aspect ratio, or a share of it, is resized to the
    target in one resampling (bilinear, with antialiasing).

    Raises:
        OtherSizeError: if the image does not have the size that it must have.
        DeepGreyError: for a 16-bit image whose range is not known.
        Exception: what Pillow raises for a file that is no image.
    """
    with open_image(path, rules) as opened:
        traits = find_traits(opened, rules) | ({OUTSIDE} if exceeds_range(opened, rules) else set())
        image = convert_to_rgb(opened, rules)
        if target.like is None and (target.share < 1 or image.size != (target.width, target.height)):
            box = _find_centre_box(image.size, target)
            image = image.resize((target.width, target.height), Image.Resampling.BILINEAR, box=box)
        if image.size != (target.width, target.height):
            raise OtherSizeError(f"{image.width} x {image.height}")
        return _finish_image(image, traits)


def _find_centre_box(size: tuple[int, int], target: Target) -> tuple[float, float, float, float]:
    """Return (left, top, right, bottom) of the part of an image of (width, height) that is resized to the target."""
    width, height = size
    box_width = min(width, height * target.width / target.height) * target.share
    box_height = min(height, width * target.height / target.width) * target.share
    left, top = (width - box_width) / 2, (height - box_height) / 2
    return left, top, left + box_width, top + box_height


def decode_whole(
    path: Path | BinaryIO, least_size: tuple[int, int] | None, rules: PixelRules = PLAIN_RULES
) -> DecodedImage:
    """Return an image file as (h, w, 3) with its own aspect ratio, shrunk until one side is as `least_size` (H, W).

    With None as the size nothing is resized. Colours and errors are as in `decode_image`.
    """
    with open_image(path, rules) as opened:
        traits = find_traits(opened, rules) | ({OUTSIDE} if exceeds_range(opened, rules) else set())
        image = convert_to_rgb(opened, rules)
        height, width = shrink_size(image.height, image.width, least_size)
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        return _finish_image(image, traits)


def _finish_image(image: Image.Image, traits: set[str]) -> DecodedImage:
    pixels = np.asarray(image)
    return DecodedImage(pixels, traits | {PLAIN_COLOUR} if is_plain_colour(pixels) else traits)


def shrink_size(height: int, width: int, least_size: tuple[int, int] | None) -> tuple[int, int]:
    """Return the smallest size (h, w) of the same aspect ratio that covers `least_size`; never a larger one."""
    factor = 1.0 if least_size is None else min(1.0, max(least_size[0] / height, least_size[1] / width))
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
