"""From a recipe to a dataset: choose classes and training images, cut off the validation split, read the pixels.

With data.crop=resized the training images are kept whole, and image files are normalised with ImageNet's mean and
standard deviation unless the dataset has its own.
"""

import hashlib
import json
from typing import NamedTuple

from torch import Tensor

from attncli.data import subset
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
from attncli.data.images.variable_size import read_whole_images
from attncli.data.paths import DataPaths
from attncli.data.registry import read_source
from attncli.errors import UserError
from attncli.recipe import Data


def build_dataset(data: Data, paths: DataPaths) -> Dataset:
    """Return the dataset of a recipe. Raises UserError; see `attncli.data.load`."""
    source = read_source(data, paths)
    classes, lazy_splits = _select_splits(data, source)
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
        digest=_compute_digest(classes, lazy_splits, arrays, whole_images),
        origin=source.origin,
        pad=default_pad if data.pad is None else data.pad,
        flip=source.flip if data.flip is None else data.flip,
        augmentation=build_augmentation(data),
        notes=source.notes,
    )


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
    if data.image_size is None:
        raise UserError("data.crop: resized crops need a size", "--image-size 224, for example")
    activity = "decoding whole training images"
    images = read_whole_images(lazy_split.files, data.image_size, activity, paths, keep_decoded=data.decoded)
    return WholeTrainImages(images, IMAGENET_MEAN, IMAGENET_STD)


def _select_splits(data: Data, source: DatasetSource) -> tuple[tuple[str, ...], dict[str, LazySplit]]:
    """Return the classes, and train, val (unless empty) and test with the wanted images only.

    Classes are chosen in every split. data.fraction and data.per_class apply to the training images only, before the
    validation split is cut from them.
    """
    class_numbers = subset.choose_classes(source.classes, data.classes)
    classes = tuple(source.classes[number] for number in class_numbers)
    source_splits = {"train": source.train, "val": source.val, "test": source.test}
    lazy_splits = {
        name: lazy_split.select_rows(*subset.select_class_rows(lazy_split.labels, class_numbers))
        for name, lazy_split in source_splits.items()
        if lazy_split is not None
    }
    _check_not_empty(data, classes, lazy_splits)
    train = lazy_splits["train"]
    train = train.select_rows(
        subset.choose_train_rows(train.labels, classes, data.fraction, data.per_class, data.subset_seed)
    )
    if "val" not in lazy_splits:
        train_rows, val_rows = subset.cut_validation(train.labels, data.val_fraction, data.subset_seed)
        if len(val_rows):
            lazy_splits["val"] = train.select_rows(val_rows)
        train = train.select_rows(train_rows)
    return classes, lazy_splits | {"train": train}


def _check_not_empty(data: Data, classes: tuple[str, ...], lazy_splits: dict[str, LazySplit]) -> None:
    """Raise UserError for a split without images, or for a class without training images."""
    for name, lazy_split in lazy_splits.items():
        if not len(lazy_split.labels):
            of_classes = " of the chosen classes" if data.classes is not None else ""
            raise UserError(
                f"{data.name}: no images{of_classes} in the split {name}", "add images, or choose other files"
            )
    counts = lazy_splits["train"].labels.bincount(minlength=len(classes)).tolist()
    missing = [name for name, count in zip(classes, counts, strict=True) if not count]
    if missing:
        raise UserError(
            f"{data.name}: no images of '{missing[0]}' in the split train",
            "each class needs one; data.classes=[NAME, NAME] or data.classes=FILE leaves classes out",
        )


def _move_planes_first(array: ImageArray) -> Tensor:
    return array.values.movedim(-1, -3)


def _compute_digest(
    classes: tuple[str, ...],
    lazy_splits: dict[str, LazySplit],
    arrays: dict[str, ImageArray],
    whole_images: WholeTrainImages | None = None,
) -> str:
    """Return the SHA-256 of the classes and, split by split, of labels and images."""
    digest = hashlib.sha256(json.dumps(classes).encode())
    for name in sorted(lazy_splits):
        images = whole_images.images if whole_images and name == "train" else arrays[name]
        digest.update(f"/{name}/{images.sha256}/".encode())
        digest.update(lazy_splits[name].labels.numpy().tobytes())
    return digest.hexdigest()
