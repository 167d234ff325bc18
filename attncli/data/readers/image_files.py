"""From lists of image files, sorted by class, to a dataset whose images are not read yet."""

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from attncli.data import subset
from attncli.data.dataset import DatasetSource, LazySplit
from attncli.data.images.arrays import ImageArray
from attncli.data.images.decode import Target, read_image_size
from attncli.data.images.decoded_cache import read_cached_images
from attncli.data.images.files import ImageFileList, describe_failure, join_path
from attncli.data.images.pixel_rules import PixelRules, choose_pixel_rules
from attncli.data.paths import DataPaths
from attncli.data.readers.image_groups import find_groups
from attncli.data.readers.split_folders import LAYOUT
from attncli.data.readers.split_listing import SplitListing
from attncli.data.readers.split_names import describe_unused_siblings
from attncli.data.registry import choose_shown_share
from attncli.errors import UserError
from attncli.quantities import format_first, format_quantity
from attncli.recipe import Data

NO_TEST_NOTE = "there is no test split: one fifth of each class, chosen by a fixed seed, is the test set"
ROBOFLOW_NAME = re.compile(r"(.+)\.rf\.[0-9a-f]{8,}\.\w+$")
GROUP_HINT = "--set 'data.group_pattern=([^/]+)\\.rf\\.'"
SHOWN = 3  # skipped files that a note names


def make_image_source(listings: Mapping[str, SplitListing], root: Path, data: Data, paths: DataPaths) -> DatasetSource:
    """Return the dataset of the files listed for `train`, perhaps `test`, and perhaps `val`.

    Images are resized to data.image_size; without it, all must have the size of the first. With resized crops,
    evaluation sees the centre only (data.centre). If there is no `test`, it is cut from `train`: one fifth of each
    class, chosen by a fixed seed; with `paths.tests_all` it is all of `train`. For published constants, use
    dataclasses.replace on the result.

    Args:
        listings: files by class, for each split.
        root: the folder that the paths of the files are relative to.
        data: the recipe's section.
        paths: folder of the decoded images, and progress.

    Raises:
        UserError: for a split without images, or if data.image_size is not given and no training file is an image.
    """
    for listing in listings.values():
        if not any(listing.files):
            raise UserError(f"{root}: no images in the split {listing.split}", "add images, or choose other files")
    if data.group_pattern is not None:
        listings = find_groups(listings, data.group_pattern)
    rules = choose_pixel_rules(data)
    files = {name: _collect_files(root, listing, rules) for name, listing in listings.items()}
    target = choose_target(files["train"], listings["train"].split, data)
    splits = {name: _make_lazy_split(listing, files[name], target, paths) for name, listing in listings.items()}
    train = splits["train"]
    notes = _describe_skipped(listings) + tuple(note for listing in listings.values() for note in listing.notes)
    if "test" not in splits:
        notes = notes if data.folds or paths.tests_all else (*notes, NO_TEST_NOTE)
        notes += describe_unused_siblings(paths.user_root) if paths.user_root is not None else ()
        classes = listings["train"].classes
        if data.group_pattern is None:
            notes += _describe_augmented_copies(listings["train"])
        if paths.tests_all:
            splits |= {"test": train}
        else:
            train_rows, test_rows = subset.cut_test_or_fold(data, train.labels, classes, train.groups)
            splits |= {"train": train.select_rows(train_rows), "test": train.select_rows(test_rows)}
    return DatasetSource(
        classes=tuple(listings["train"].classes),
        train=splits["train"],
        test=splits["test"],
        val=splits.get("val"),
        origin=str(root.resolve()),
        has_own_test="test" in listings,
        flip=True,
        notes=notes,
    )


def _describe_augmented_copies(listing: SplitListing) -> tuple[str, ...]:
    """Return a line about Roboflow's augmented copies of one picture, which a cut would put on both sides."""
    sources = [match[1] for files in listing.files for file in files if (match := ROBOFLOW_NAME.match(file.path))]
    count = len(sources) - len(set(sources))
    if not count:
        return ()
    return (f"augmented copies of other images, by their names: {count:,}; {GROUP_HINT} keeps them on one side",)


def _describe_skipped(listings: Mapping[str, SplitListing]) -> tuple[str, ...]:
    """Return a note on the files that were skipped, none if there are none."""
    skipped = [path for listing in listings.values() for path in listing.skipped]
    if not skipped:
        return ()
    count = format_quantity(len(skipped), "file")
    return (f"skipped, {count} not named as images: {format_first(skipped, SHOWN)}",)


def _collect_files(root: Path, listing: SplitListing, rules: PixelRules) -> ImageFileList:
    files = [file for files in listing.files for file in files]
    return ImageFileList(root, files, listing.opener or join_path, rules)


def choose_target(files: ImageFileList, split: str, data: Data) -> Target:
    """Return the size of the decoded images: data.image_size, else that of the first readable training image."""
    if data.size is not None:
        return Target(*data.size, share=choose_shown_share(data))
    reason = ""
    for file in files.files:
        try:
            return Target(*read_image_size(files.open_file(file), files.rules), like=file.path)
        except Exception as error:  # not an image: reported with all others when they are decoded
            reason = reason or f"{file.path} ({describe_failure(error)})"
    hint = LAYOUT if files.opener is join_path else "each row needs an image's bytes, or a path from the table's folder"
    raise UserError(f"{files.root / split}: none of the files is an image: {reason}", hint)


def _make_lazy_split(listing: SplitListing, files: ImageFileList, target: Target, paths: DataPaths) -> LazySplit:
    labels = torch.tensor([label for label, files in enumerate(listing.files) for _ in files], dtype=torch.int64)
    groups = None if listing.groups is None else [group for members in listing.groups for group in members]
    read = partial(_read_images, files, target, f"decoding {listing.split} images", paths)
    return LazySplit(labels, read, files, groups)


def _read_images(files: ImageFileList, target: Target, activity: str, paths: DataPaths, rows: Tensor) -> ImageArray:
    return read_cached_images(files.select_rows(rows.tolist()), target, activity, paths)
