"""Datasets by name: what there is, told without importing them, and reading one's description."""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from attncli.data.place import Place
from attncli.errors import UserError, nearest, unknown
from attncli.recipe import Data

if TYPE_CHECKING:
    from attncli.data.dataset import Source

MADE = ("clips", "cluttered")  # of another dataset, data.of
HUB = "hf"  # for which data.of is a name elsewhere


def _names() -> dict[str, str]:
    """Every dataset with the first line of its file."""
    found = {}
    for path in sorted((Path(__file__).parent / "sets").glob("*.py")):
        if path.stem != "__init__":
            with path.open(encoding="utf-8") as file:
                found[path.stem.replace("_", "-")] = file.readline().strip().strip('"')
    return found


NAMES: dict[str, str] = _names()


def read_source(data: Data, place: Place) -> "Source":
    """The dataset `data.name` as its file describes it, its images not read yet.

    Raises UserError for an unknown name, a base (`data.of`) that nothing is made of, or missing files.
    """
    if data.name not in NAMES:
        raise unknown("dataset", data.name, NAMES, where="data.name")
    if data.of is not None and data.name not in (*MADE, HUB):
        raise UserError(f"data.of: {data.of}: '{data.name}' is not made of another dataset", "leave data.of out")
    made: Source = importlib.import_module(f"attncli.data.sets.{data.name.replace('-', '_')}").read(data, place)
    return made


def read_base(data: Data, place: Place, allowed: tuple[str, ...], size: int | None) -> "Source":
    """The dataset that `data` is made of (`data.of`, digits unless told otherwise), at `size` pixels.

    Raises UserError for one that is not among `allowed`.
    """
    base = data.of or "digits"
    if base not in NAMES:
        raise unknown("dataset", base, allowed, where="data.of")
    if base not in allowed:
        raise UserError(f"data.of: '{data.name}' can't be made of '{base}'", nearest("", allowed))
    return read_source(data.model_copy(update={"name": base, "of": None, "image_size": size}), place)
