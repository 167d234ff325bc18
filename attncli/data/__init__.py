"""Datasets: listed without torch, read into memory, and turned into batches of varied images.

A dataset is one file in `datasets/`. The first line of its docstring describes it, its constants state its properties
(`attncli.dataset_catalog.DatasetProperties`), and its function `read(data, paths) -> DatasetSource` lists the classes
and says how the images of a split are read. Nothing else has to be changed to add one.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from attncli.data.paths import DataPaths, ProgressCallback, ignore_progress
from attncli.data.registry import DATASETS, describe_availability
from attncli.data.size_cache import DatasetSize, load_size, save_size
from attncli.recipe import Data
from attncli.system.files import expand_user_path

if TYPE_CHECKING:
    from attncli.data.dataset import Dataset
    from attncli.data.verify import VerificationReport

__all__ = [
    "DATASETS",
    "DatasetSize",
    "describe_availability",
    "find_default_root",
    "load",
    "load_size",
    "verify_dataset",
]


def find_default_root() -> Path:
    """Return the default folder of downloads: $ATTNCLI_DATA, else ~/.cache/attncli/data."""
    return Path(os.environ.get("ATTNCLI_DATA") or "~/.cache/attncli/data").expanduser()


def load(recipe: Data, *, cache: Path, progress: ProgressCallback | None = None) -> "Dataset":
    """Return the dataset of a recipe: read, split into train, validation and test, held as uint8 tensors.

    Imports torch.

    Args:
        recipe: the section `data`.
        cache: folder for decoded images and the size of the dataset; it may be deleted at any time.
        progress: called as `progress(activity, completed, total)` during downloads (bytes) and decoding (images).

    Raises:
        UserError: for an unknown dataset, missing or unreadable files, or an impossible subset.
    """
    from attncli.data.build import build_dataset

    root = expand_user_path(recipe.root, "data.root") if recipe.root else None
    dataset = build_dataset(recipe, DataPaths(root, find_default_root(), cache, progress or ignore_progress))
    save_size(cache, recipe, dataset)
    return dataset


def verify_dataset(recipe: Data, *, progress: ProgressCallback | None = None) -> "VerificationReport":
    """Check a dataset: layout, published counts and checksums, every image file. Downloads nothing."""
    from attncli.data.verify import inspect_dataset

    root = expand_user_path(recipe.root, "data.root") if recipe.root else None
    folder = find_default_root()
    return inspect_dataset(recipe, DataPaths(root, folder, folder, progress or ignore_progress, may_fetch=False))
