"""From a recipe to a dataset: choose classes and training images, cut off the validation split, read the pixels.

With data.crop=resized the training images are kept whole, and image files are normalised with ImageNet's mean and
standard deviation unless the dataset has its own.
"""

import hashlib
import json
from typing import NamedTuple

from torch import Tensor

from attncli.data.augmentation.config import build_augmentation
from attncli.data.dataset import Dataset, DatasetSource, LazySplit, Split
from attncli.data.images.arrays import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    ImageArray,
    RGBTriple,
    VariableSizeImages,
    wrap_tensor,
)
from attncli.data.images.files import UnreadableFile, name_unreadable_files
from attncli.data.images.grey_range import find_grey_range, load_grey_range
from attncli.data.images.pixel_rules import FULL_RANGE, DeepGreyError, choose_pixel_rules
from attncli.data.images.variable_size import read_whole_images
from attncli.data.paths import DataPaths
from attncli.data.registry import read_source
from attncli.data.remarks import (
    SplitFiles,
    describe_alike_classes,
    describe_first_classes,
    describe_joined_classes,
    describe_missing_classes,
    list_notes,
    list_warnings,
)
from attncli.data.split_selection import select_splits
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
    classes, lazy_splits, left_out = select_splits(data, source, paths)
    whole_images = _load_whole_images(data, lazy_splits["train"], paths) if data.crop == "resized" else None
    arrays = {
        name: lazy_split.read_all()
        for name, lazy_split in lazy_splits.items()
        if not (whole_images and name == "train")
    }
    splits = _make_splits(lazy_splits, arrays, whole_images)
    rules = choose_pixel_rules(data)
    split_files = _collect_split_files(classes, lazy_splits, arrays, whole_images)
    values = arrays["test"].values
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
        grey_range=None if data.grey_range is None else rules.grey_range,
        notes=(
            *source.notes,
            *_describe_unused_centre(data, source),
            *_describe_left_out(left_out),
            *describe_first_classes(data.classes, classes, len(source.classes)),
            *list_notes(rules, split_files),
            *_describe_classes_without_validation(classes, lazy_splits),
        ),
        warnings=(
            *list_warnings(split_files),
            *_describe_shared_groups(lazy_splits),
            *describe_alike_classes(classes),
            *describe_joined_classes(classes),
            *describe_missing_classes(classes, lazy_splits["test"].labels.tolist(), "test"),
        ),
    )


def _make_splits(
    lazy_splits: dict[str, LazySplit], arrays: dict[str, ImageArray], whole_images: "WholeTrainImages | None"
) -> dict[str, Split]:
    """Return the splits that were read into arrays; training images that are kept whole are in none of these."""
    splits = {name: Split(_move_planes_first(array), lazy_splits[name].labels) for name, array in arrays.items()}
    if whole_images:
        no_images = splits["test"].images[:0]
        splits["train"] = Split(no_images, lazy_splits["train"].labels, whole_images.images)
    return splits


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
    """Return the whole training images."""
    if lazy_split.files is None:
        array = lazy_split.read_all()
        return WholeTrainImages(wrap_tensor(array.values, array.sha256), array.mean, array.std)
    assert data.size is not None  # which select_splits has checked
    activity = "decoding whole training images"
    images = read_whole_images(lazy_split.files, data.size, activity, paths, keep_decoded=data.decoded)
    return WholeTrainImages(images, IMAGENET_MEAN, IMAGENET_STD)


def _describe_unused_centre(data: Data, source: DatasetSource) -> list[str]:
    """Return a note if a recipe sets data.centre and evaluation shows the images as if it did not."""
    if data.centre == Data().centre or (data.crop == "resized" and source.train.files is not None):
        return []
    reason = f"images of {data.name} are shown whole" if data.crop == "resized" else "it goes with data.crop=resized"
    return [f"data.centre has no effect: {reason}"]


def _describe_left_out(left_out: list[UnreadableFile]) -> list[str]:
    """Return a note that names the files that were left out, at most a few of them."""
    if not left_out:
        return []
    count = format_quantity(len(left_out), "file")
    return [f"left out, {count} that cannot be read: {name_unreadable_files(left_out)}"]


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


def _describe_classes_without_validation(classes: tuple[str, ...], lazy_splits: dict[str, LazySplit]) -> list[str]:
    """Return a note on classes of which no image validates, as if few images per class are cut."""
    if "val" not in lazy_splits:
        return []
    return describe_missing_classes(classes, lazy_splits["val"].labels.tolist(), "validation")


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
