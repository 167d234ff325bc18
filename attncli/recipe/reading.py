"""From a file and overrides to a recipe, with everything that is wrong with them at once."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from attncli.errors import CollectedError, UserError, nearest
from attncli.recipe.sections import Data, Measure, Model, Recipe, Section, Train
from attncli.recipe.text import load_yaml, parse_override


def merge(path: Path | None, overrides: Iterable[str], values: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The keys of a YAML file (none without one), then `values` by dotted key, then `key=value` overrides."""
    tree = load_yaml(path) if path else {}
    for key, value in (values or {}).items():
        put(tree, key, value)
    for item in overrides:
        key, value = parse_override(item)
        put(tree, key, value)
    return tree


def errors(tree: Any, where: str = "") -> list[UserError]:
    """Every unknown or wrongly typed key of a tree; empty where `Recipe.model_validate` would take it."""
    try:
        Recipe.model_validate(tree)
    except ValidationError as error:
        return [_explain(same, where) for same in _by_key(error.errors())]
    return []


def read(path: Path | None = None, overrides: Iterable[str] = (), values: Mapping[str, Any] | None = None) -> Recipe:
    """The recipe of a YAML file and overrides, by its form alone (`attncli.check.read` looks at the names too).

    Raises CollectedError that lists every unreadable, unknown or wrongly typed key at once.
    """
    tree = merge(path, overrides, values)
    if found := errors(tree, str(path) if path else ""):
        raise CollectedError(found)
    return Recipe.model_validate(tree)


def put(tree: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key in nested dicts."""
    *parts, last = key.split(".")
    for part in parts:
        below = tree.get(part)
        if below is None:
            below = tree[part] = {}
        if not isinstance(below, dict):
            raise UserError(f"{key}: '{part}' holds a value, not keys", "give the whole key, for example train.lr")
        tree = below
    tree[last] = value


def _by_key(errors: list[ErrorDetails]) -> list[list[ErrorDetails]]:
    """The errors of each key together: where several types are allowed, each of them has its own to say."""
    groups: dict[str, list[ErrorDetails]] = {}
    for error in errors:
        groups.setdefault(".".join(_keys(error)), []).append(error)
    return list(groups.values())


def _keys(error: ErrorDetails) -> list[str]:
    """The keys that lead to an error; those of the types tried on the way (pydantic's) and below are left out."""
    tried = next((i for i, p in enumerate(error["loc"]) if i > 1 and isinstance(p, str)), None)
    keys = error["loc"] if error["type"] == "extra_forbidden" else error["loc"][:tried]
    return [str(p) for p in keys]


def _explain(same: list[ErrorDetails], where: str) -> UserError:
    """The errors of one key as problem and hint, with the dotted key."""
    error, keys = same[0], _keys(same[0])
    place = f"{where}: {'.'.join(keys)}" if where else ".".join(keys)
    if error["type"] == "extra_forbidden":
        parts: dict[str, type[Section]] = {"data": Data, "model": Model, "train": Train, "measure": Measure}
        section = parts.get(keys[0], Recipe)
        return UserError(f"{place}: unknown key", nearest(keys[-1], section.model_fields))
    wanted = " or ".join(dict.fromkeys(map(_wanted, same)))
    return UserError(f"{place}: {json.dumps(error['input'], default=str)} is not allowed", f"allowed: {wanted}")


def _wanted(error: ErrorDetails) -> str:
    """What pydantic would have taken, in our words."""
    text = error["msg"].removeprefix("Input should be ").replace("a valid ", "").replace("dictionary", "mapping")
    text = re.sub(r" or instance of \w+$", "", text)
    inside = isinstance(error["loc"][-1], int) and any(isinstance(p, str) for p in error["loc"][2:])
    return f"list of {text}s" if inside else text
