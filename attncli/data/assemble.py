"""From a recipe to a dataset: classes chosen, training images kept and cut, pixels read, facts recorded.

With data.crop=resized the training images are kept whole, and files are normalised with ImageNet's mean and deviation
unless the dataset has its own.
"""

import hashlib
import json
from typing import NamedTuple

from torch import Tensor

from attncli.data import subset
from attncli.data.dataset import Dataset, Part, Pixels, Source, Split, Three
from attncli.data.find import read_source
from attncli.data.pictures import Pictures, of_tensor, read_pictures
from attncli.data.place import Place
from attncli.data.vary import vary
from attncli.errors import UserError
from attncli.recipe import Data

IMAGENET_MEAN: Three = (0.485, 0.456, 0.406)
IMAGENET_STD: Three = (0.229, 0.224, 0.225)


def assemble(data: Data, place: Place) -> Dataset:
    """The dataset of a recipe. Raises UserError; see `attncli.data.load`."""
    source = read_source(data, place)
    classes, parts = _parts(data, source)
    whole = _pictures(data, parts["train"], place) if data.crop == "resized" else None
    read = {name: part.all() for name, part in parts.items() if not (whole and name == "train")}
    splits = {name: Split(_planes_first(pixels), parts[name].labels) for name, pixels in read.items()}
    values = read["test"].values
    if whole:
        splits["train"] = Split(_planes_first(read["test"])[:0], parts["train"].labels, whole.pictures)
    height, width = values.shape[-3], values.shape[-2]
    default_pad = min(height, width) // 8 if source.pad is None else source.pad
    return Dataset(
        name=data.name,
        classes=classes,
        size=(height, width),
        frames=values.shape[1] if values.ndim == 5 else None,
        mean=source.mean or (whole.mean if whole else read["train"].mean),
        std=source.std or (whole.std if whole else read["train"].std),
        train=splits["train"],
        val=splits.get("val"),
        test=splits["test"],
        digest=_digest(classes, parts, read, whole),
        source=source.origin,
        pad=default_pad if data.pad is None else data.pad,
        flip=source.flip if data.flip is None else data.flip,
        vary=vary(data),
    )


class Whole(NamedTuple):
    """Training images that are kept whole, and what they are normalised with."""

    pictures: Pictures
    mean: Three
    std: Three


def _pictures(data: Data, part: Part, place: Place) -> Whole:
    """The training images kept whole. Raises UserError where there is no size to bring parts of them to."""
    if part.files is None:
        pixels = part.all()
        if pixels.values.ndim == 5:
            raise UserError(f"data.crop: resized crops are not for clips ('{data.name}')", "data.crop: pad")
        return Whole(of_tensor(pixels.values, pixels.sha256), pixels.mean, pixels.std)
    if data.image_size is None:
        raise UserError("data.crop: resized crops need a size", "--image-size 224, for example")
    what = "decoding whole training images"
    pictures = read_pictures(part.files, data.image_size, what, place, decoded=data.decoded)
    return Whole(pictures, IMAGENET_MEAN, IMAGENET_STD)


def _parts(data: Data, source: Source) -> tuple[tuple[str, ...], dict[str, Part]]:
    """The classes, and train, val (unless empty) and test with the wanted images only.

    The classes are chosen in every part; a fraction or a number of each class is kept of the training images
    alone, and the validation part is cut from those.
    """
    chosen = subset.choose_classes(source.classes, data.classes)
    classes = tuple(source.classes[c] for c in chosen)
    given = {"train": source.train, "val": source.val, "test": source.test}
    parts = {name: part.rows(*subset.rows_of(part.labels, chosen)) for name, part in given.items() if part is not None}
    train = parts["train"]
    train = train.rows(subset.keep(train.labels, classes, data.fraction, data.per_class, data.subset_seed))
    if "val" not in parts:
        fit, held = subset.cut(train.labels, data.val_fraction, data.subset_seed)
        if len(held):
            parts["val"] = train.rows(held)
        train = train.rows(fit)
    return classes, parts | {"train": train}


def _planes_first(pixels: Pixels) -> Tensor:
    return pixels.values.movedim(-1, -3)


def _digest(
    classes: tuple[str, ...], parts: dict[str, Part], read: dict[str, Pixels], whole: Whole | None = None
) -> str:
    """SHA-256 of the classes and, part by part, of labels and images."""
    digest = hashlib.sha256(json.dumps(classes).encode())
    for name in sorted(parts):
        images = whole.pictures if whole and name == "train" else read[name]
        digest.update(f"/{name}/{images.sha256}/".encode())
        digest.update(parts[name].labels.numpy().tobytes())
    return digest.hexdigest()
