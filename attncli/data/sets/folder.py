"""Images of your own: ROOT/train/CLASS/* and ROOT/test/CLASS/* or val/ (or both), any sizes and common formats.

ROOT is data.root. Without test/, val/ is the test set and a validation part is cut from train/. Images of different
sizes need data.image_size. Classes are ordered by name; names that begin with a dot are passed over. Only the images
that a recipe keeps are decoded, once, into the cache (`attncli.data.cache`).
"""

from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from attncli.data.cache import File, read_cached
from attncli.data.dataset import Part, Pixels, Source
from attncli.data.decode import Target, size_of
from attncli.data.listing import LAYOUT, Listing, list_root
from attncli.data.place import Place
from attncli.errors import UserError
from attncli.recipe import Data


def read(data: Data, place: Place) -> Source:
    """The folder data.root. Raises UserError for a layout that can't be used or an image that can't be read."""
    if place.given is None:
        raise UserError("data.root: the dataset 'folder' needs one", f"--data-root DIR; {LAYOUT}")
    root = place.given
    listings = list_root(root)
    target = _target(root, listings["train"], data.image_size)
    parts = {name: _part(root, listing, target, place) for name, listing in listings.items()}
    return Source(
        classes=listings["train"].classes,
        train=parts["train"],
        test=parts["test"],
        val=parts.get("val"),
        origin=str(root.resolve()),
        flip=True,
    )


def _target(root: Path, listing: Listing, size: int | None) -> Target:
    """The size to cut to, or that of the first readable training image."""
    if size is not None:
        return Target(size, size)
    for file in (file for files in listing.files for file in files):
        try:
            return Target(*size_of(root / file.path), like=file.path)
        except Exception:  # no image: named, with all others, when the folder is decoded
            continue
    raise UserError(f"{root / listing.part}: not one of the files is an image", LAYOUT)


def _part(root: Path, listing: Listing, target: Target, place: Place) -> Part:
    labels = torch.tensor([label for label, files in enumerate(listing.files) for _ in files])
    files = [file for files in listing.files for file in files]
    return Part(labels, partial(_read, root, files, target, f"decoding {listing.part} images", place))


def _read(root: Path, files: list[File], target: Target, what: str, place: Place, rows: Tensor) -> Pixels:
    return read_cached(root, [files[i] for i in rows.tolist()], target, what, place)
