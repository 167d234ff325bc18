"""Datasets by name: what there is, told without importing them, and reading one's description."""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from attncli.data.paths import DataPaths
from attncli.errors import UserError, suggest_name, unknown_name_error
from attncli.recipe import Data

if TYPE_CHECKING:
    from attncli.data.dataset import DatasetSource

GENERATED = ("clips", "cluttered")  # of another dataset, data.of
HUB = "hf"  # for which data.of is a name elsewhere


def _describe_datasets() -> dict[str, str]:
    """Every dataset with the first line of its file."""
    descriptions = {}
    for path in sorted((Path(__file__).parent / "datasets").glob("*.py")):
        if path.stem != "__init__":
            with path.open(encoding="utf-8") as file:
                descriptions[path.stem.replace("_", "-")] = file.readline().strip().strip('"')
    return descriptions


DATASETS: dict[str, str] = _describe_datasets()


def read_source(data: Data, paths: DataPaths) -> "DatasetSource":
    """The dataset `data.name` as its file describes it, its images not read yet.

    Raises UserError for an unknown name, a base (`data.of`) that nothing is made of, or missing files.
    """
    if data.name not in DATASETS:
        raise unknown_name_error("dataset", data.name, DATASETS, location="data.name")
    if data.of is not None and data.name not in (*GENERATED, HUB):
        raise UserError(f"data.of: {data.of}: '{data.name}' is not made of another dataset", "leave data.of out")
    source: DatasetSource = importlib.import_module(f"attncli.data.datasets.{data.name.replace('-', '_')}").read(
        data, paths
    )
    return source


def read_base(data: Data, paths: DataPaths, allowed: tuple[str, ...], size: int | None) -> "DatasetSource":
    """The dataset that `data` is made of (`data.of`, digits unless told otherwise), at `size` pixels.

    Raises UserError for one that is not among `allowed`.
    """
    base = data.of or "digits"
    if base not in DATASETS:
        raise unknown_name_error("dataset", base, allowed, location="data.of")
    if base not in allowed:
        raise UserError(f"data.of: '{data.name}' can't be made of '{base}'", suggest_name("", allowed))
    return read_source(data.model_copy(update={"name": base, "of": None, "image_size": size}), paths)
