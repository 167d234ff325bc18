"""What the file of each dataset says about it, read from the source: nothing is imported, torch stays unloaded.

This module is below `recipe` and `data` because both need it: the identity of a run depends on where the images of its
dataset come from. A file in `data/datasets/` states its properties as constants, see `DatasetProperties`.
"""

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

from attncli.errors import UserError, fold_name
from attncli.system.source_inspection import find_assignment, parse_source

DATASETS_FOLDER = Path(__file__).parent / "data" / "datasets"
Origin = Literal["embedded", "download", "request", "user", "hub", "generated"]


@dataclass(frozen=True, kw_only=True)
class DatasetProperties:
    """The constants of a dataset's file; ORIGIN is required.

    ORIGIN         where the images come from: "embedded" in a library, "download", "request" (one copy for those who
                   register), "user" (whatever is in data.root), "hub" (data.of names it), "generated" from data.of
    HOLDS          what the download folder contains if the dataset is complete; "a | b" means one of the two
    CLASS_COUNT    number of classes, if it is fixed
    SIDE           height and width of the images in pixels, if they are square and all of one size
    IN_MEMORY      whether all images are arrays in memory, which evaluation shows whole; data.centre is for files
    GREY_ON_BLACK  whether the images are grey on a black ground, so that a larger black canvas extends them
    PRINTED_NAME   the name that papers print
    ALIASES        other names that people type
    ROOT_HOLDS     what data.root names, if it is a folder of yours
    """

    origin: Origin
    holds: tuple[str, ...] = ()
    class_count: int | None = None
    side: int | None = None
    in_memory: bool = False
    grey_on_black: bool = False
    printed_name: str | None = None
    aliases: tuple[str, ...] = ()
    root_holds: str = "the folder of the images"


@cache
def list_datasets() -> dict[str, str]:
    """Return every dataset's name with the first line of its file."""
    descriptions = {}
    for path in sorted(DATASETS_FOLDER.glob("*.py")):
        if path.stem != "__init__":
            with path.open(encoding="utf-8") as file:
                descriptions[path.stem.replace("_", "-")] = file.readline().strip().strip('"')
    return descriptions


@cache
def find_properties(name: str) -> DatasetProperties | None:
    """Return what a dataset's file says, or None for an unknown name. Raises UserError for a wrong ORIGIN."""
    if name not in list_datasets():
        return None
    tree = _parse_dataset_file(name)
    values: dict[str, Any] = {}
    for field_name in DatasetProperties.__dataclass_fields__:
        expression = find_assignment(tree, field_name.upper())
        if expression is not None:
            values[field_name] = ast.literal_eval(expression)
    if values.get("origin") not in get_args(Origin):
        problem = f"{_locate_dataset_file(name)}: ORIGIN = {values.get('origin')!r} is not allowed"
        raise UserError(problem, f"allowed: {', '.join(get_args(Origin))}")
    return DatasetProperties(**values)


@cache
def list_dataset_aliases() -> dict[str, str]:
    """Return other names of the datasets, each with the dataset to suggest for it."""
    suggestions: dict[str, str] = {}
    for name in list_datasets():
        properties = find_properties(name)
        if properties is not None:
            suggestions |= dict.fromkeys((*properties.aliases, properties.printed_name or name), f"'{name}'")
    return suggestions


def suggest_dataset(name: str) -> str:
    """Return the hint for a name that is another one of a dataset, such as CIFAR-10; "" if it is none of its names."""
    names = {fold_name(alias): meant for alias, meant in list_dataset_aliases().items()}
    names |= {fold_name(dataset): f"'{dataset}'" for dataset in list_datasets()}
    meant = None if name in list_datasets() else names.get(fold_name(name))
    return f"did you mean {meant}?" if meant else ""


def has_origin(name: str | None, *origins: Origin) -> bool:
    """Return whether `name` is a dataset with one of these origins."""
    properties = find_properties(name) if name else None
    return properties is not None and properties.origin in origins


def list_by_property(**wanted: object) -> tuple[str, ...]:
    """Return the names of the datasets that have all these values, for example `list_by_property(origin="user")`."""
    return tuple(
        name
        for name in list_datasets()
        if all(getattr(find_properties(name), key) == value for key, value in wanted.items())
    )


def read_description(name: str) -> str:
    """Return the whole docstring of a dataset's file."""
    return ast.get_docstring(_parse_dataset_file(name)) or list_datasets()[name]


def _locate_dataset_file(name: str) -> Path:
    return DATASETS_FOLDER / f"{name.replace('-', '_')}.py"


def _parse_dataset_file(name: str) -> ast.Module:
    return parse_source(_locate_dataset_file(name))
