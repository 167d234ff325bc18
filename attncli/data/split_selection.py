"""The splits of a recipe: choose classes and training images, and cut off the validation split. No image is decoded."""

from typing import NamedTuple

import torch

from attncli.data import subset
from attncli.data.class_choice import choose_classes
from attncli.data.dataset import DatasetSource, LazySplit
from attncli.data.images.files import UnreadableFile
from attncli.data.images.unreadable import find_unreadable_files
from attncli.data.paths import DataPaths
from attncli.errors import UserError
from attncli.recipe import Data


class SelectedSplits(NamedTuple):
    """The chosen classes and splits, and the files that were left out as they cannot be read."""

    classes: tuple[str, ...]
    lazy_splits: dict[str, LazySplit]
    left_out: list[UnreadableFile]


def select_splits(data: Data, source: DatasetSource, paths: DataPaths) -> SelectedSplits:
    """Return the classes, and train, val (unless empty) and test with the wanted images only.

    Classes are chosen in every split; then, with data.bad=skip, unreadable files are left out. data.fraction and
    data.per_class apply to the training images only, before the validation split is cut from them;
    data.test_per_class applies to the test images. Raises UserError if the images do not allow it.
    """
    _check_crop_size(data, source)
    class_numbers = choose_classes(source.classes, data.classes)
    classes = tuple(source.classes[number] for number in class_numbers)
    source_splits = _list_source_splits(data, source)
    lazy_splits = {
        name: lazy_split.select_rows(*subset.select_class_rows(lazy_split.labels, class_numbers))
        for name, lazy_split in source_splits.items()
        if lazy_split is not None
    }
    left_out = _leave_out_unreadable(lazy_splits, paths) if data.bad == "skip" else []
    _check_not_empty(data, classes, lazy_splits)
    train = lazy_splits["train"]
    seed = subset.resolve_seed(data)
    train = train.select_rows(subset.choose_train_rows(train.labels, classes, data.fraction, data.per_class, seed))
    if "val" not in lazy_splits:
        train_rows, val_rows = subset.cut_validation(train.labels, data.val_fraction, seed, train.groups)
        if len(val_rows):
            lazy_splits["val"] = train.select_rows(val_rows)
        train = train.select_rows(train_rows)
    if data.test_per_class is not None:
        test = lazy_splits["test"]
        rows = subset.choose_test_rows(test.labels, len(classes), data.test_per_class, seed)
        lazy_splits["test"] = test.select_rows(rows)
    return SelectedSplits(classes, lazy_splits | {"train": train}, left_out)


def _check_crop_size(data: Data, source: DatasetSource) -> None:
    """Raise UserError for resized crops of image files if there is no size to resize them to."""
    if data.crop == "resized" and data.size is None and source.train.files is not None:
        raise UserError("data.crop: resized crops need a size", "--image-size 224, for example")


def _leave_out_unreadable(lazy_splits: dict[str, LazySplit], paths: DataPaths) -> list[UnreadableFile]:
    """Remove the files that cannot be read from all splits, and return them with the reasons."""
    left_out = []
    for name, lazy_split in lazy_splits.items():
        if lazy_split.files is None:
            continue
        unreadable = dict(find_unreadable_files(lazy_split.files, f"checking {name} images", paths))
        left_out += list(unreadable.items())
        readable = [row for row, file in enumerate(lazy_split.files.files) if file.path not in unreadable]
        lazy_splits[name] = lazy_split.select_rows(torch.tensor(readable, dtype=torch.int64))
    return left_out


def _list_source_splits(data: Data, source: DatasetSource) -> dict[str, LazySplit | None]:
    """Return the splits of a source; with data.folds, a fold of its training images is the test set instead."""
    if data.folds is None or not source.has_own_test:
        return {"train": source.train, "val": source.val, "test": source.test}
    train = source.train
    train_rows, test_rows = subset.cut_test_or_fold(data, train.labels, source.classes, train.groups)
    return {"train": source.train.select_rows(train_rows), "test": source.train.select_rows(test_rows)}


def _check_not_empty(data: Data, classes: tuple[str, ...], lazy_splits: dict[str, LazySplit]) -> None:
    """Raise UserError for a split without images, or for a class without training images."""
    for name, lazy_split in lazy_splits.items():
        if not len(lazy_split.labels):
            of_classes = " of the chosen classes" if data.classes is not None else ""
            hint = "add images, or choose other files"
            train_count = len(lazy_splits["train"].labels)
            if train_count < 2 * len(classes):
                hint = (
                    f"there are {len(classes)} classes and {train_count} images: does another column have the labels?"
                )
            raise UserError(f"{data.name}: no images{of_classes} in the split {name}", hint)
    counts = lazy_splits["train"].labels.bincount(minlength=len(classes)).tolist()
    missing = [name for name, count in zip(classes, counts, strict=True) if not count]
    if missing:
        raise UserError(
            f"{data.name}: no images of '{missing[0]}' in the split train",
            "each class needs one; data.classes=[NAME, NAME] or data.classes=FILE leaves classes out",
        )
