"""The datasets by name: which there are, whether their files are there, and reading one of them."""

import importlib
import os
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from attncli.data.paths import DataPaths
from attncli.data.readers.foreign_files import check_foreign_file, check_foreign_folder
from attncli.dataset_catalog import find_properties, has_origin, list_dataset_aliases, list_datasets
from attncli.errors import UserError, join_hints, quote_word, suggest_name, unknown_name_error
from attncli.recipe import Data
from attncli.system.files import expand_user_path

if TYPE_CHECKING:
    from attncli.data.dataset import DatasetSource

DATASETS: dict[str, str] = list_datasets()
CONFIGURED = ("parquet", "hf")  # datasets of which one folder or repository can hold several
TABLES = ("parquet", "hf", "table")
KEYS_OF_DATASETS = {
    "image_column": TABLES,
    "label_column": TABLES,
    "group_column": TABLES,
    "group_pattern": ("folder", "table"),
}
READERS_OF_FILES = {".parquet": "parquet", ".csv": "table", ".tsv": "table", ".txt": "table"}  # by suffix
DEFAULT_BASE = "digits"  # what generated datasets are made of without data.of


def find_base(data: Data) -> str:
    """Return the dataset that the images of a recipe are read from: of a generated one that which it is made of."""
    return data.of or DEFAULT_BASE if has_origin(data.name, "generated") else data.name


def choose_shown_share(data: Data) -> float:
    """Return the share of the shorter side that evaluation shows: data.centre of resized crops, else all of it.

    Images in memory are shown whole, whatever the recipe says.
    """
    properties = find_properties(find_base(data))
    is_in_memory = properties is not None and properties.in_memory
    return data.centre if data.crop == "resized" and not is_in_memory else 1.0


def describe_availability(name: str, root: Path) -> str:
    """Return whether the files of a known dataset are below `root`, or what has to be done to get them."""
    properties = find_properties(name)
    assert properties is not None
    if properties.origin in ("download", "request"):
        is_complete = properties.holds and all(
            any((root / alternative.strip()).exists() for alternative in alternatives.split("|"))
            for alternatives in properties.holds
        )
        if is_complete:
            return "there"
        return "to be fetched" if properties.origin == "download" else "needs --data-root"
    return {
        "embedded": "there",
        "generated": "made",
        "user": "needs --data-root",
        "hub": "needs --set data.of=USER/NAME",
    }[properties.origin]


def check_data_root(data: Data) -> None:
    """Check that the folder of your own images, or of your copy of a dataset, is there. Loads no torch.

    It costs milliseconds, and torch, MLflow and the rest seconds: so commands call it first. Of the dataset `folder`,
    the layout of the splits is checked too. Raises UserError.
    """
    if (missing := find_missing_root(data)) is not None:
        raise missing
    if data.root is None or not _needs_files_of_user(data):
        return
    root = expand_user_path(data.root, "data.root")
    _check_kind_of_root(data.name, root, _make_root_hint(data))
    if data.name == "folder":
        from attncli.data.readers.split_folders import find_split_folders  # here, as it imports NumPy and Pillow

        find_split_folders(root, data.unused_splits)


def find_missing_root(data: Data) -> UserError | None:
    """Return the error for a folder of your own images, or of your copy of a dataset, that is not named or not there.

    Raises UserError for a path that cannot be one.
    """
    if not _needs_files_of_user(data):
        return None
    if data.root is None:
        needs_root = has_origin(data.name, "user")
        return (
            UserError(f"data.root: the dataset '{data.name}' needs one", _make_root_hint(data)) if needs_root else None
        )
    root = expand_user_path(data.root, "data.root")
    return (
        None
        if root.exists()
        else UserError(f"{root}: no such folder", _suggest_path(data.root) or _describe_root(root, data))
    )


def _needs_files_of_user(data: Data) -> bool:
    return any(has_origin(name, "user", "request") for name in (data.name, data.of))


def _make_root_hint(data: Data) -> str:
    properties = find_properties(data.name)
    return f"--data-root names {properties.root_holds if properties else 'the folder of the images'}"


def _describe_root(root: Path, data: Data) -> str:
    """Return the hint what the root holds, and from where it counts if it is relative."""
    origin = "" if root.is_absolute() else f"it counts from the folder of the command, {Path.cwd()}"
    return join_hints(_make_root_hint(data), origin)


def _suggest_path(text: str) -> str:
    """Return a hint for a path with quotes or variables in it, as a shell would read it, or with a typing error.

    It is an empty text if nothing of the kind is there.
    """
    path = os.path.expandvars(text.strip("'\""))
    if path != text and os.path.exists(os.path.expanduser(path)):
        return f"did you mean {path}? quotes and variables are read by a shell only"
    root = Path(os.path.expanduser(text))
    siblings = [sibling for sibling in root.parent.glob("*/") if not sibling.name.startswith(".")]
    return suggest_name(root.name, (), {sibling.name: quote_word(sibling) for sibling in siblings})


def _check_kind_of_root(name: str, root: Path, hint: str) -> None:
    """Raise UserError for an archive, a foreign format, a file in place of a folder, or one of another dataset."""
    if has_origin(name, "user") and not root.is_file():
        check_foreign_folder(root)
    if not root.is_file():
        return
    check_foreign_file(root)
    suffix = root.suffix.lower()
    reader = READERS_OF_FILES.get(suffix)
    if name != reader and (reader is not None or name not in READERS_OF_FILES.values()):
        problem = f"{root}: a file, which the dataset '{name}' cannot read"
        raise UserError(problem, f"--dataset {reader} reads it" if reader and has_origin(name, "user") else hint)


def read_source(data: Data, paths: DataPaths) -> "DatasetSource":
    """Return the dataset `data.name` as its file describes it; its images are not read yet.

    Raises UserError for an unknown name, a key of `data` that the dataset has no use for, or missing files.
    """
    if data.name not in DATASETS:
        raise unknown_name_error("dataset", data.name, DATASETS, location="data.name", aliases=list_dataset_aliases())
    if data.of is not None and not has_origin(data.name, "generated", "hub"):
        raise UserError(f"data.of: {data.of}: '{data.name}' is not made of another dataset", "leave data.of out")
    if data.configuration is not None and not {data.name, data.of} & set(CONFIGURED):
        raise UserError(
            f"data.configuration: '{data.name}' has no configurations", f"only {' and '.join(CONFIGURED)} have them"
        )
    if data.unused_splits and not any(has_origin(name, "user", "hub") for name in (data.name, data.of)):
        raise UserError(f"data.unused_splits: '{data.name}' is not a dataset of your own", "leave the key out")
    for key, names in KEYS_OF_DATASETS.items():
        if getattr(data, key) is not None and not {data.name, data.of} & set(names):
            raise UserError(f"data.{key}: '{data.name}' has no use for it", f"only {', '.join(names)} have")
    if (missing := find_missing_root(data)) is not None:
        raise missing
    module = importlib.import_module(f"attncli.data.datasets.{data.name.replace('-', '_')}")
    source: DatasetSource = module.read(data, paths)
    return source


def read_base(data: Data, paths: DataPaths, allowed: Collection[str], size: int | list[int] | None) -> "DatasetSource":
    """Return the dataset that a generated one is made of (`data.of`, else the digits), at `size` as in data.image_size.

    Raises UserError if it is not among `allowed`.
    """
    base = data.of or DEFAULT_BASE
    if base not in DATASETS:
        raise unknown_name_error("dataset", base, allowed, location="data.of")
    if base not in allowed:
        raise UserError(f"data.of: '{data.name}' cannot be made of '{base}'", suggest_name("", allowed))
    return read_source(data.model_copy(update={"name": base, "of": None, "image_size": size}), paths)
