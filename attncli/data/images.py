"""From lists of image files, a class each, to a dataset that is not read yet."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from attncli.data.cache import read_cached
from attncli.data.dataset import Part, Pixels, Source, Three
from attncli.data.decode import Target, size_of
from attncli.data.files import Files
from attncli.data.listing import LAYOUT, Listing
from attncli.data.place import Place
from attncli.errors import UserError
from attncli.recipe import Data


def image_source(
    listings: Mapping[str, Listing],
    root: Path,
    data: Data,
    place: Place,
    *,
    classes: Sequence[str] | None = None,
    origin: str | None = None,
    mean: Three | None = None,
    std: Three | None = None,
    counts: tuple[int, int] | None = None,
) -> Source:
    """The source of parts `train`, `test` and perhaps `val` below `root`, classes named as listed unless told.

    Images are resized to data.image_size, else all must have the size of the first. Where recipes take resized crops,
    evaluation shows the centre (data.centre) alone.
    """
    train = _files(root, listings["train"])
    target = _target(train, listings["train"].part, data)
    parts = {name: _part(root, listing, target, place) for name, listing in listings.items()}
    return Source(
        classes=tuple(classes or listings["train"].classes),
        train=parts["train"],
        test=parts["test"],
        val=parts.get("val"),
        origin=origin or str(root.resolve()),
        flip=True,
        mean=mean,
        std=std,
        counts=counts,
    )


def _files(root: Path, listing: Listing) -> Files:
    files = [file for files in listing.files for file in files]
    return Files(root, files) if listing.opened is None else Files(root, files, listing.opened)


def _target(files: Files, part: str, data: Data) -> Target:
    """The size to cut to, or that of the first readable training image."""
    if data.image_size is not None:
        share = data.centre if data.crop == "resized" else 1.0
        return Target(data.image_size, data.image_size, share=share)
    for file in files.files:
        try:
            return Target(*size_of(files.open(file)), like=file.path)
        except Exception:  # no image: named, with all others, when they are decoded
            continue
    raise UserError(f"{files.root / part}: not one of the files is an image", LAYOUT)


def _part(root: Path, listing: Listing, target: Target, place: Place) -> Part:
    labels = torch.tensor([label for label, files in enumerate(listing.files) for _ in files])
    files = _files(root, listing)
    return Part(labels, partial(_read, files, target, f"decoding {listing.part} images", place), files)


def _read(files: Files, target: Target, what: str, place: Place, rows: Tensor) -> Pixels:
    return read_cached(files.rows(rows.tolist()), target, what, place)
