"""Datasets: listed without torch, read into memory, and turned into batches of varied images.

A dataset is one file in `datasets/`. The first line of its docstring describes it, its constants state its properties
(`attncli.dataset_catalog.DatasetProperties`), and its function `read(data, paths) -> DatasetSource` lists the classes
and says how the images of a split are read. Nothing else has to be changed to add one.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from attncli.data.digest_cache import fingerprint_files, has_changeable_files, load_digest, save_digest
from attncli.data.paths import DataPaths, ProgressCallback, find_default_root, ignore_progress
from attncli.data.presence import check_images, describe_images
from attncli.data.registry import DATASETS, check_data_root, describe_availability
from attncli.data.size_cache import DatasetSize, load_size, save_size
from attncli.dataset_catalog import has_origin
from attncli.errors import UserError
from attncli.recipe import Data, format_content
from attncli.system.files import expand_user_path

if TYPE_CHECKING:
    from attncli.data.dataset import Dataset
    from attncli.data.verify import VerificationReport

__all__ = [
    "DATASETS",
    "DatasetSize",
    "check_data_root",
    "check_images",
    "describe_availability",
    "describe_images",
    "find_default_root",
    "has_changeable_files",
    "load",
    "load_size",
    "read_digest",
    "verify_dataset",
]


def load(recipe: Data, *, cache: Path, progress: ProgressCallback | None = None, tests_all: bool = False) -> "Dataset":
    """Return the dataset of a recipe: read, split into train, validation and test, held as uint8 tensors.

    Imports torch.

    Args:
        recipe: the section `data`.
        cache: folder for decoded images and the size of the dataset; it may be deleted at any time.
        progress: called as `progress(activity, completed, total)` during downloads (bytes) and decoding (images).
        tests_all: whether all images of a dataset without a test split are its test images; else a part of them is cut
            from the training images.

    Raises:
        UserError: for an unknown dataset, missing or unreadable files, other images than data.content says, or an
            impossible subset.
    """
    from attncli.data.build import build_dataset

    fingerprint = None if tests_all or not has_changeable_files(recipe) else fingerprint_files(recipe)
    root = expand_user_path(recipe.root, "data.root") if recipe.root else None
    paths = DataPaths(root, find_default_root(), cache, progress or ignore_progress, tests_all=tests_all)
    dataset = build_dataset(recipe, paths)
    if tests_all:
        return dataset  # not the images that the recipe trains on
    save_size(cache, recipe, dataset)
    if fingerprint is not None:
        save_digest(cache, recipe, fingerprint, dataset.digest)
    _check_content(recipe, dataset)
    return dataset


def _check_content(recipe: Data, dataset: "Dataset") -> None:
    """Raise UserError if the recipe is of other images than these."""
    actual = format_content(dataset.digest)
    if recipe.content not in (None, actual):
        raise UserError(
            f"data.content: {recipe.content}, but the images of {dataset.origin} are {actual} now",
            "leave data.content out to train on the images that are there",
        )


def read_digest(recipe: Data, *, cache: Path, progress: ProgressCallback | None = None) -> str | None:
    """Return the digest of the dataset of a recipe; images are read only if their files may have changed.

    None means that nobody can say: the files are gone, or the hub cannot be reached.

    Raises:
        UserError: as `load` does.
    """
    is_on_hub = any(has_origin(name, "hub") for name in (recipe.name, recipe.of))
    if not is_on_hub and recipe.root is not None and not expand_user_path(recipe.root, "data.root").exists():
        return None
    fingerprint = fingerprint_files(recipe)
    if fingerprint is not None and (digest := load_digest(cache, recipe, fingerprint)) is not None:
        return digest
    try:
        return load(recipe, cache=cache, progress=progress).digest
    except UserError:
        if is_on_hub:
            return None
        raise


def verify_dataset(recipe: Data, *, progress: ProgressCallback | None = None) -> "VerificationReport":
    """Check a dataset: layout, published counts and checksums, every image file. Downloads nothing."""
    from attncli.data.verify import inspect_dataset

    root = expand_user_path(recipe.root, "data.root") if recipe.root else None
    folder = find_default_root()
    return inspect_dataset(recipe, DataPaths(root, folder, folder, progress or ignore_progress, may_fetch=False))
