"""Image files to uint8 pixels."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels8 = NDArray[np.uint8]


@dataclass(frozen=True)
class Target:
    """The size (H, W) of decoded images: a square they are cut to, or what the file `like` has and all must have."""

    height: int
    width: int
    like: str | None = None


class OtherSizeError(Exception):
    """An image whose size is not that of the others."""


def size_of(path: Path) -> tuple[int, int]:
    """(H, W) of an image file, from its header. Raises whatever Pillow raises for a file that is no image."""
    with Image.open(path) as image:
        return image.height, image.width


def decode(path: Path, target: Target) -> Pixels8:
    """An image file as (H, W, 3), red, green, blue; grey is repeated, transparency dropped, 16 bits cut to 8.

    Without `target.like`, the shorter side is resized to the target's (bilinear, averaged where it gets smaller) and
    the centre cut out, in one resampling. Rotation notes of cameras (EXIF) are not followed, as in torchvision's
    ImageFolder. Raises OtherSizeError where the size must agree and does not, else whatever Pillow raises.
    """
    with Image.open(path) as opened:
        image = _rgb(opened)
        if target.like is None and image.size != (target.width, target.height):
            side = min(image.size)
            left, top = ((length - side) / 2 for length in image.size)
            box = (left, top, left + side, top + side)
            image = image.resize((target.width, target.height), Image.Resampling.BILINEAR, box=box)
        if image.size != (target.width, target.height):
            raise OtherSizeError(f"{image.width} x {image.height}")
        return np.asarray(image)


def _rgb(image: Image.Image) -> Image.Image:
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
