"""What a reader lists of a split: its classes, and the files of each class."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from attncli.data.images.files import ImageFile
from attncli.data.readers.split_names import format_names
from attncli.errors import UserError, escape_unprintable


@dataclass(frozen=True)
class SplitListing:
    """The classes of a split, sorted by name, and the files of each class; `opener` as in `ImageFileList`.

    `skipped` lists files that are no images by their names. `groups` has the group of each file, as `files` is.
    `notes` has lines about what is not used, or used otherwise than one may think.
    """

    split: str
    classes: tuple[str, ...]
    files: tuple[tuple[ImageFile, ...], ...]
    opener: Callable[[Path, ImageFile], Path | BinaryIO] | None = None
    skipped: tuple[str, ...] = ()
    groups: tuple[tuple[str, ...], ...] | None = None
    notes: tuple[str, ...] = ()


def check_class_name(name: str, location: str) -> str:
    """Return the name of a class. Raises UserError if it cannot be printed and recorded in one line of UTF-8."""
    if escape_unprintable(name) != name:
        raise UserError(f"{location}: '{name}': the name of a class must be one line of valid UTF-8", "rename it")
    return name


def check_no_empty_class(root: Path, listing: SplitListing, wanted: Collection[str]) -> None:
    """Raise UserError if one of the wanted classes has no images."""
    empty = [name for name, files in zip(listing.classes, listing.files, strict=True) if name in wanted and not files]
    if empty:
        raise UserError(
            f"{root / listing.split}: no files in {format_names(empty, 5)}",
            "add images, remove the empty folders, or leave the classes out with data.classes",
        )
