"""Image files to uint8 pixels."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ImagePixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Target:
    """The size (H, W) of decoded images: a square they are cut to, or what the file `like` has and all must have.

    `share` of the shorter side is the side of the square, before it is resized.
    """

    height: int
    width: int
    like: str | None = None
    share: float = field(default=1.0, repr=False)


class OtherSizeError(Exception):
    """An image whose size is not that of the others."""


def read_image_size(path: Path | BinaryIO) -> tuple[int, int]:
    """(H, W) of an image file, from its header. Raises whatever Pillow raises for a file that is no image."""
    with Image.open(path) as image:
        return image.height, image.width


def decode_image(path: Path | BinaryIO, target: Target) -> ImagePixels:
    """An image file as (H, W, 3), red, green, blue; grey is repeated, transparency dropped, 16 bits cut to 8.

    Without `target.like`, the centre square, or a share of it, is resized to the target (bilinear, averaged where it
    gets smaller), in one resampling. Rotation notes of cameras (EXIF) are not followed, as in torchvision's
    ImageFolder. Raises OtherSizeError where the size must agree and does not, else whatever Pillow raises.
    """
    with Image.open(path) as opened:
        image = _convert_to_rgb(opened)
        if target.like is None and (target.share < 1 or image.size != (target.width, target.height)):
            side = min(image.size) * target.share
            x_start, y_start = ((length - side) / 2 for length in image.size)
            box = (x_start, y_start, x_start + side, y_start + side)
            image = image.resize((target.width, target.height), Image.Resampling.BILINEAR, box=box)
        if image.size != (target.width, target.height):
            raise OtherSizeError(f"{image.width} x {image.height}")
        return np.asarray(image)


def decode_whole(path: Path | BinaryIO, side: int) -> ImagePixels:
    """An image file as (h, w, 3) at its own aspect ratio, the shorter side at most `side`.

    Colours and errors as in `decode_image`.
    """
    with Image.open(path) as opened:
        image = _convert_to_rgb(opened)
        height, width = shrink_size(image.height, image.width, side)
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(image)


def shrink_size(height: int, width: int, side: int) -> tuple[int, int]:
    """The size (h, w) at which the shorter side is at most `side`."""
    factor = min(1.0, side / min(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


def crop_and_resize(
    image: ImagePixels, box: tuple[int, int, int, int], size: tuple[int, int], flip: bool
) -> ImagePixels:
    """A box (top, left, height, width) of a picture (h, w, 3), resized to (H, W) and mirrored if asked to."""
    first_row, first_column, height, width = box
    crop = np.ascontiguousarray(image[first_row : first_row + height, first_column : first_column + width])
    if (height, width) != size:
        crop = np.asarray(Image.fromarray(crop).resize((size[1], size[0]), Image.Resampling.BILINEAR))
    return crop[:, ::-1] if flip else crop


def _convert_to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        image.load()
        return image
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise ValueError(f"32 bits a pixel (Pillow's mode {image.mode}) have no known scale")
    if "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("RGB")
