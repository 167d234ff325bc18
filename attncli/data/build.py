"""From a recipe to a dataset: choose classes and training images, cut off the validation split, read the pixels.

With data.crop=resized the training images are kept whole, and image files are normalised with ImageNet's mean and
standard deviation unless the dataset has its own.
"""

import hashlib
import json
from typing import NamedTuple

import torch
from torch import Tensor

from attncli.data import subset
from attncli.data.augmentation.config import build_augmentation
from attncli.data.class_choice import choose_classes
from attncli.data.dataset import Dataset, DatasetSource, LazySplit, Split
from attncli.data.images.arrays import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    ImageArray,
    RGBTriple,
    VariableSizeImages,
    wrap_tensor,
)
from attncli.data.images.files import SHOWN, UnreadableFile
from attncli.data.images.grey_range import find_grey_range, load_grey_range
from attncli.data.images.pixel_rules import FULL_RANGE, DeepGreyError, choose_pixel_rules
from attncli.data.images.unreadable import find_unreadable_files
from attncli.data.images.variable_size import read_whole_images
from attncli.data.paths import DataPaths
from attncli.data.registry import read_source
from attncli.data.remarks import (
    SplitFiles,
    describe_alike_classes,
    describe_first_classes,
    describe_joined_classes,
    describe_untested_classes,
    list_notes,
    list_warnings,
)
from attncli.errors import UserError
from attncli.quantities import format_quantity
from attncli.recipe import Data


def build_dataset(data: Data, paths: DataPaths) -> Dataset:
    """Return the dataset of a recipe. Raises UserError; see `attncli.data.load`.

    If 16-bit images are met, the values that they hold are read first.
    """
    source = read_source(data, paths)
    files = source.train.files
    grey_range = load_grey_range(files, paths) if files is not None and files.rules.grey_range is None else None
    if grey_range is None:
        try:
            return _assemble_dataset(data, source, paths)
        except DeepGreyError:
            grey_range = _find_grey_range(source, paths)
    data = data.model_copy(update={"grey_range": list(grey_range)})
    return _assemble_dataset(data, read_source(data, paths), paths)


def _find_grey_range(source: DatasetSource, paths: DataPaths) -> tuple[float, float]:
    """Return the range of the 16-bit training images, or of those of another split if there are no others."""
    for lazy_split in (source.train, source.test, source.val):
        files = lazy_split.files if lazy_split is not None else None
        if files is not None and (grey_range := find_grey_range(files, paths)) is not None:
            return grey_range
    return FULL_RANGE


def _assemble_dataset(data: Data, source: DatasetSource, paths: DataPaths) -> Dataset:
    """Return the dataset. Raises DeepGreyError for 16-bit images without data.grey_range."""
    classes, lazy_splits, left_out = _select_splits(data, source, paths)
    whole_images = _load_whole_images(data, lazy_splits["train"], paths) if data.crop == "resized" else None
    arrays = {
        name: lazy_split.read_all()
        for name, lazy_split in lazy_splits.items()
        if not (whole_images and name == "train")
    }
    splits = {name: Split(_move_planes_first(array), lazy_splits[name].labels) for name, array in arrays.items()}
    values = arrays["test"].values
    if whole_images:
        splits["train"] = Split(
            _move_planes_first(arrays["test"])[:0], lazy_splits["train"].labels, whole_images.images
        )
    rules = choose_pixel_rules(data)
    split_files = _collect_split_files(classes, lazy_splits, arrays, whole_images)
    height, width = values.shape[-3], values.shape[-2]
    default_pad = min(height, width) // 8 if source.pad is None else source.pad
    return Dataset(
        name=data.name,
        classes=classes,
        size=(height, width),
        frames=values.shape[1] if values.ndim == 5 else None,
        mean=source.mean or (whole_images.mean if whole_images else arrays["train"].mean),
        std=source.std or (whole_images.std if whole_images else arrays["train"].std),
        train=splits["train"],
        val=splits.get("val"),
        test=splits["test"],
        digest=_compute_digest(classes, lazy_splits, arrays, whole_images, left_out),
        origin=source.origin,
        pad=default_pad if data.pad is None else data.pad,
        flip=source.flip if data.flip is None else data.flip,
        augmentation=build_augmentation(data),
        notes=(
            *source.notes,
            *_describe_left_out(left_out),
            *describe_first_classes(data.classes, classes, len(source.classes)),
            *list_notes(rules, split_files),
        ),
        warnings=(
            *list_warnings(split_files),
            *_describe_shared_groups(lazy_splits),
            *describe_alike_classes(classes),
            *describe_joined_classes(classes),
            *describe_untested_classes(classes, lazy_splits["test"].labels.tolist()),
        ),
    )


def _collect_split_files(
    classes: tuple[str, ...],
    lazy_splits: dict[str, LazySplit],
    arrays: dict[str, ImageArray],
    whole_images: "WholeTrainImages | None",
) -> dict[str, SplitFiles]:
    """Return the files of each split with what is known about them; published images have no such facts."""
    split_files = {}
    for name, lazy_split in lazy_splits.items():
        facts = whole_images.images.facts if whole_images and name == "train" else arrays[name].facts
        if facts is not None and lazy_split.files is not None:
            labels = [classes[label] for label in lazy_split.labels.tolist()]
            split_files[name] = SplitFiles([file.path for file in lazy_split.files.files], labels, facts)
    return split_files


class WholeTrainImages(NamedTuple):
    """Training images that are kept whole, with the constants that normalise them."""

    images: VariableSizeImages
    mean: RGBTriple
    std: RGBTriple


def _load_whole_images(data: Data, lazy_split: LazySplit, paths: DataPaths) -> WholeTrainImages:
    """Return the whole training images. Raises UserError if there is no size to resize their crops to."""
    if lazy_split.files is None:
        array = lazy_split.read_all()
        if array.values.ndim == 5:
            raise UserError(f"data.crop: resized crops are not for clips ('{data.name}')", "data.crop: pad")
        return WholeTrainImages(wrap_tensor(array.values, array.sha256), array.mean, array.std)
    if data.size is None:
        raise UserError("data.crop: resized crops need a size", "--image-size 224, for example")
    activity = "decoding whole training images"
    images = read_whole_images(lazy_split.files, data.size, activity, paths, keep_decoded=data.decoded)
    return WholeTrainImages(images, IMAGENET_MEAN, IMAGENET_STD)


class SelectedSplits(NamedTuple):
    """The chosen classes and splits, and the files that were left out as they cannot be read."""

    classes: tuple[str, ...]
    lazy_splits: dict[str, LazySplit]
    left_out: list[UnreadableFile]


def _select_splits(data: Data, source: DatasetSource, paths: DataPaths) -> SelectedSplits:
    """Return the classes, and train, val (unless empty) and test with the wanted images only.

    Classes are chosen in every split; then, with data.bad=skip, unreadable files are left out. data.fraction and
    data.per_class apply to the training images only, before the validation split is cut from them;
    data.test_per_class applies to the test images.
    """
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


def _describe_left_out(left_out: list[UnreadableFile]) -> list[str]:
    """Return a note that names the files that were left out, at most a few of them."""
    named = "; ".join(f"{path} ({reason})" for path, reason in left_out[:SHOWN])
    more = f"; and {len(left_out) - SHOWN} more" if len(left_out) > SHOWN else ""
    return (
        [f"left out, {format_quantity(len(left_out), 'file')} that cannot be read: {named}{more}"] if left_out else []
    )


def _describe_shared_groups(lazy_splits: dict[str, LazySplit]) -> list[str]:
    """Return a warning for the groups of images that are in the training and in another split."""
    shared = []
    train_groups = set(lazy_splits["train"].groups or ())
    for name in ("val", "test"):
        groups = set(lazy_splits[name].groups or ()) if name in lazy_splits else set()
        if common := sorted(groups & train_groups):
            example = f"for example {common[0]}"
            shared.append(f"{len(common)} of {len(groups)} groups of {name} are also in train, {example}")
    return shared


def _move_planes_first(array: ImageArray) -> Tensor:
    return array.values.movedim(-1, -3)


def _compute_digest(
    classes: tuple[str, ...],
    lazy_splits: dict[str, LazySplit],
    arrays: dict[str, ImageArray],
    whole_images: WholeTrainImages | None,
    left_out: list[UnreadableFile],
) -> str:
    """Return the SHA-256 of the classes and, split by split, of labels and images, and of the files left out."""
    digest = hashlib.sha256(json.dumps(classes).encode())
    for name in sorted(lazy_splits):
        images = whole_images.images if whole_images and name == "train" else arrays[name]
        digest.update(f"/{name}/{images.sha256}/".encode())
        digest.update(lazy_splits[name].labels.numpy().tobytes())
    if left_out:
        digest.update(json.dumps(sorted(path for path, _ in left_out)).encode())
    return digest.hexdigest()
