"""From a recipe to a dataset: classes chosen, training images kept and cut, pixels read, facts recorded."""

import hashlib
import json

from torch import Tensor

from attncli.data import subset
from attncli.data.dataset import Dataset, Part, Pixels, Source, Split
from attncli.data.find import read_source
from attncli.data.place import Place
from attncli.recipe import Data


def assemble(data: Data, place: Place) -> Dataset:
    """The dataset of a recipe. Raises UserError; see `attncli.data.load`."""
    source = read_source(data, place)
    classes, parts = _parts(data, source)
    read = {name: part.all() for name, part in parts.items()}
    splits = {name: Split(_planes_first(read[name]), part.labels) for name, part in parts.items()}
    values = read["train"].values
    height, width = values.shape[-3], values.shape[-2]
    default_pad = min(height, width) // 8 if source.pad is None else source.pad
    return Dataset(
        name=data.name,
        classes=classes,
        size=(height, width),
        frames=values.shape[1] if values.ndim == 5 else None,
        mean=source.mean or read["train"].mean,
        std=source.std or read["train"].std,
        train=splits["train"],
        val=splits.get("val"),
        test=splits["test"],
        digest=_digest(classes, parts, read),
        source=source.origin,
        pad=default_pad if data.pad is None else data.pad,
        flip=source.flip if data.flip is None else data.flip,
    )


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


def _digest(classes: tuple[str, ...], parts: dict[str, Part], read: dict[str, Pixels]) -> str:
    """SHA-256 of the classes and, part by part, of labels and images."""
    digest = hashlib.sha256(json.dumps(classes).encode())
    for name in sorted(parts):
        digest.update(f"/{name}/{read[name].sha256}/".encode())
        digest.update(parts[name].labels.numpy().tobytes())
    return digest.hexdigest()
