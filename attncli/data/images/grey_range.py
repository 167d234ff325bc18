"""Which values the 16-bit grey images of a dataset hold; the answer is kept beside the decoded images."""

import io
import json
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from PIL import Image

from attncli.data.images.files import ImageFile, ImageFileList, map_in_order, stamp_files
from attncli.data.images.pixel_rules import choose_grey_range, find_largest_deep_value
from attncli.data.paths import DataPaths
from attncli.system.files import write_atomically

SUFFIX = ".range"


def find_grey_range(files: ImageFileList, paths: DataPaths) -> tuple[float, float] | None:
    """Read all of some files and return the range of the 16-bit images among them, or None if there are none."""
    largest: list[int] = []
    completed = 0
    for values, count in map_in_order(partial(_find_largest_values, files), files.files):
        largest += values
        completed += count
        paths.progress("reading 16-bit images", completed, len(files))
    if not largest:
        return None
    grey_range = choose_grey_range(largest)
    if not paths.may_fetch:  # nothing is written while a dataset is verified
        return grey_range
    with suppress(OSError):
        paths.cache.mkdir(parents=True, exist_ok=True)
        write_atomically(_locate_range_file(files, paths), json.dumps(grey_range) + "\n")
    return grey_range


def load_grey_range(files: ImageFileList, paths: DataPaths) -> tuple[float, float] | None:
    """Return the range that was found earlier for these files, or None."""
    try:
        low, high = json.loads((_locate_range_file(files, paths)).read_text(encoding="utf-8"))
        return float(low), float(high)
    except (OSError, ValueError, TypeError):
        return None


def _locate_range_file(files: ImageFileList, paths: DataPaths) -> Path:
    return paths.cache / f"{files.make_key(SUFFIX, stamp_files(files.files))}{SUFFIX}"


def _find_largest_values(files: ImageFileList, chunk_files: Sequence[ImageFile]) -> tuple[list[int], int]:
    values = []
    for file in chunk_files:
        try:
            with Image.open(io.BytesIO(files.read_content(file))) as image:
                value = find_largest_deep_value(image)
        except Exception:  # not an image: reported with all others when they are decoded
            continue
        if value is not None:
            values.append(value)
    return values, len(chunk_files)
