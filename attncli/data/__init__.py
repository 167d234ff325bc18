"""Datasets: found by file name in `sets/` without loading torch, read into memory, batched and varied there.

Adding a dataset is adding a file to `sets/`: its docstring's first line describes it, and its function
`read(data, place) -> Source` names the classes and says how the images of a part are read.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from attncli.data.paths import DataPaths, ProgressCallback, ignore_progress
from attncli.data.registry import DATASETS, HUB
from attncli.data.size_cache import DatasetSize, load_size, save_size
from attncli.recipe import Data

if TYPE_CHECKING:
    from attncli.data.dataset import Dataset
    from attncli.data.verify import VerificationReport

__all__ = ["DATASETS", "HUB", "DatasetSize", "find_default_root", "load", "load_size", "verify_dataset"]


def find_default_root() -> Path:
    """Where downloaded files lie unless told otherwise: $ATTNCLI_DATA, else ~/.cache/attncli/data."""
    return Path(os.environ.get("ATTNCLI_DATA") or "~/.cache/attncli/data").expanduser()


def load(recipe: Data, *, cache: Path, progress: ProgressCallback | None = None) -> "Dataset":
    """The dataset of a recipe: read, cut into train, validation and test, and held as uint8 tensors.

    `cache` is a folder for decoded images and the dataset's extent; it may be deleted at any time.
    `progress(what, done, total)` is called while files are downloaded (in bytes) or decoded (in images). Imports torch.
    Raises UserError for an unknown dataset, missing or unreadable files and impossible subsets.
    """
    from attncli.data.build import build_dataset

    root = Path(recipe.root).expanduser() if recipe.root else None
    dataset = build_dataset(recipe, DataPaths(root, find_default_root(), cache, progress or ignore_progress))
    save_size(cache, recipe, dataset)
    return dataset


def verify_dataset(recipe: Data, *, progress: ProgressCallback | None = None) -> "VerificationReport":
    """Whether a dataset is whole: layout, published counts and sums, every image file. Downloads nothing."""
    from attncli.data.verify import inspect_dataset as look

    root = Path(recipe.root).expanduser() if recipe.root else None
    return look(
        recipe, DataPaths(root, find_default_root(), find_default_root(), progress or ignore_progress, may_fetch=False)
    )
