"""The size of images as people write it: `224`, or `128x256` for height and width."""

import re

from attncli.errors import UserError


def parse_image_size(text: str) -> int | list[int]:
    """Return the side of square images for `224`, [height, width] for `128x256`. Raises UserError for anything else."""
    match = re.fullmatch(r"\s*(\d{1,6})(?:\s*[xX]\s*(\d{1,6}))?\s*", text, re.ASCII)
    if match is None or not all(int(side) for side in match.groups() if side is not None):
        raise UserError(f"image size: {text}: not a size in pixels", "for example 224, or 128x256: height x width")
    height, width = match.groups()
    return int(height) if width is None else [int(height), int(width)]


def format_image_size(size: tuple[int, int]) -> str:
    """Return the size (H, W) as `--image-size` takes it: `224`, or `128x256`."""
    height, width = size
    return str(height) if height == width else f"{height}x{width}"
