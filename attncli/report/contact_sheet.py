"""A contact sheet: images with their labels above them, in rows."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attncli.errors import UserError
from attncli.report.style import saved_figure

COLUMNS = 8
IMAGE_WIDTH, IMAGE_HEIGHT = 1.35, 1.7  # inches per image with its label
LABEL_LETTERS = 19  # letters per line of a label
THUMBNAIL_SIDE = 256  # px


def read_thumbnail(path: Path) -> Any:
    """Return an image file as a picture of at most THUMBNAIL_SIDE px: upright, whole and not squashed."""
    from PIL import Image, ImageOps

    with Image.open(path) as image:
        picture = ImageOps.exif_transpose(image).convert("RGB")
    picture.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    return picture


def draw_contact_sheet(images: Sequence[Any], labels: Sequence[str], title: str, path: Path) -> None:
    """Draw images (H, W, 3), uint8, with their labels into a PNG. Raises UserError if it cannot be written."""
    columns = min(COLUMNS, len(images))
    rows = -(-len(images) // columns)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with saved_figure(path, IMAGE_WIDTH * max(columns, 4), IMAGE_HEIGHT * rows + 0.4, title) as figure:
            cells = figure.subplots(rows, columns, squeeze=False).ravel()
            for axes in cells:
                axes.axis("off")
            for axes, image, label in zip(cells, images, labels, strict=False):
                axes.imshow(image, interpolation="nearest")
                text = textwrap.fill(label, LABEL_LETTERS, max_lines=3, placeholder=" …")
                axes.set_title(text, fontsize=7, loc="center", pad=3)
    except OSError as error:
        raise UserError(
            f"{path}: {error.strerror or error}", "name another file: --out of data show, --sheet of predict"
        ) from error
