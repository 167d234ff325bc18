"""From lists of image files, a class each, to a dataset that is not read yet."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from attncli.data.dataset import DatasetSource, ImageArray, LazySplit, RGBTriple
from attncli.data.images.decode import Target, read_image_size
from attncli.data.images.decoded_cache import read_cached_images
from attncli.data.images.files import ImageFileList
from attncli.data.paths import DataPaths
from attncli.data.readers.image_folder import LAYOUT, SplitListing
from attncli.errors import UserError
from attncli.recipe import Data


def make_image_source(
    listings: Mapping[str, SplitListing],
    root: Path,
    data: Data,
    paths: DataPaths,
    *,
    classes: Sequence[str] | None = None,
    origin: str | None = None,
    mean: RGBTriple | None = None,
    std: RGBTriple | None = None,
    published_counts: tuple[int, int] | None = None,
) -> DatasetSource:
    """The source of parts `train`, `test` and perhaps `val` below `root`, classes named as listed unless told.

    Images are resized to data.image_size, else all must have the size of the first. Where recipes take resized crops,
    evaluation shows the centre (data.centre) alone.
    """
    train = _collect_files(root, listings["train"])
    target = _choose_target(train, listings["train"].split, data)
    splits = {name: _make_lazy_split(root, listing, target, paths) for name, listing in listings.items()}
    return DatasetSource(
        classes=tuple(classes or listings["train"].classes),
        train=splits["train"],
        test=splits["test"],
        val=splits.get("val"),
        origin=origin or str(root.resolve()),
        flip=True,
        mean=mean,
        std=std,
        published_counts=published_counts,
    )


def _collect_files(root: Path, listing: SplitListing) -> ImageFileList:
    files = [file for files in listing.files for file in files]
    return ImageFileList(root, files) if listing.opener is None else ImageFileList(root, files, listing.opener)


def _choose_target(files: ImageFileList, split: str, data: Data) -> Target:
    """The size to cut to, or that of the first readable training image."""
    if data.image_size is not None:
        share = data.centre if data.crop == "resized" else 1.0
        return Target(data.image_size, data.image_size, share=share)
    for file in files.files:
        try:
            return Target(*read_image_size(files.open_file(file)), like=file.path)
        except Exception:  # no image: named, with all others, when they are decoded
            continue
    raise UserError(f"{files.root / split}: not one of the files is an image", LAYOUT)


def _make_lazy_split(root: Path, listing: SplitListing, target: Target, paths: DataPaths) -> LazySplit:
    labels = torch.tensor([label for label, files in enumerate(listing.files) for _ in files])
    files = _collect_files(root, listing)
    return LazySplit(labels, partial(_read_images, files, target, f"decoding {listing.split} images", paths), files)


def _read_images(files: ImageFileList, target: Target, activity: str, paths: DataPaths, rows: Tensor) -> ImageArray:
    return read_cached_images(files.select_rows(rows.tolist()), target, activity, paths)
