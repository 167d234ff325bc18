"""The sizes of datasets that were read before, so that a plan need not read images. No torch."""

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from attncli.recipe import Data, Recipe
from attncli.system.files import write_atomically

if TYPE_CHECKING:
    from attncli.data.dataset import Dataset

SUFFIX = ".extent"  # of its file in the folder of decoded images
# Without subset_seed: with data.subset_seed=run each seed of a plan has its own cut, of the same size but for groups.
SIZE_KEYS = ("name", "of", "root", "image_size", "classes", "per_class", "fraction", "val_fraction", "frames",
         "crop", "configuration", "unused_splits",
        "image_column", "label_column", "folds", "fold", "group_column", "group_pattern", "bad",
        "test_per_class")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class DatasetSize:
    """Numbers of images of each split, and the shape of one image."""

    train: int
    val: int
    test: int
    images: tuple[int | None, ...]  # classes, H, W, T (None for still images)


def save_size(cache: Path, recipe: Data, dataset: "Dataset") -> None:
    """Save the size of a dataset. If the folder cannot be written, plans simply do not know it."""
    size = DatasetSize(
        train=len(dataset.train),
        val=len(dataset.val) if dataset.val else 0,
        test=len(dataset.test),
        images=(len(dataset.classes), *dataset.size, dataset.frames),
    )
    if size == load_size(cache, recipe):
        return
    with suppress(OSError):
        cache.mkdir(parents=True, exist_ok=True)
        write_atomically(_locate_size_file(cache, recipe), json.dumps(asdict(size)) + "\n")


def load_size(cache: Path, recipe: Data) -> DatasetSize | None:
    """Return the size that a recipe's dataset had when it was last read, or None if `cache` does not know it."""
    try:
        values = json.loads(_locate_size_file(cache, recipe).read_text(encoding="utf-8"))
        return DatasetSize(**values | {"images": tuple(values["images"])})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _locate_size_file(cache: Path, recipe: Data) -> Path:
    identity = Recipe(data=recipe).build_identity()["data"]
    key_text = json.dumps({key: identity.get(key) for key in SIZE_KEYS}, sort_keys=True)
    return cache / (hashlib.sha256(key_text.encode()).hexdigest()[:16] + SUFFIX)
