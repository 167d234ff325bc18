"""From a file and overrides to a recipe; all errors are reported at once."""

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from attncli.attention import NONE
from attncli.errors import CollectedError, UserError, suggest_name
from attncli.recipe.key_names import LEAST_SIMILARITY, SECTIONS, find_recipe_key
from attncli.recipe.recipe import Recipe
from attncli.recipe.sections import Data, Measure, Model, RecipeSection, Train
from attncli.recipe.yaml_loader import load_yaml, parse_override

MOST_LETTERS = 200  # of a value in an error
PLACEMENT_KEYS = ("options", "site", "stages", "blocks")  # of a mechanism
KEYS_OF_SWEEPS = ("recipe", "axes", "include", "exclude")  # no recipe has them


def merge_values(
    path: Path | None, overrides: Iterable[str], values: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the keys of a YAML file, if any, updated by `values` (dotted keys), then by `key=value` overrides.

    A mapping for a section, such as train={lr: 0.1}, sets the keys in it: the others stay.
    A mechanism that replaces the file's does not inherit its options, as in a sweep; no mechanism has no place either.
    """
    tree = load_yaml(path) if path else {}
    given_settings = [*(values or {}).items(), *map(parse_override, overrides)]
    settings = [setting for key, value in given_settings for setting in split_section(key, value).items()]
    model, attn = tree.get("model"), dict(settings).get("model.attn")
    if attn is not None and isinstance(model, dict):
        is_other = model.get("attn", attn) != attn
        for key in PLACEMENT_KEYS if attn == NONE else ("options",) if is_other else ():
            model.pop(key, None)
    for key, value in settings:
        set_dotted_key(tree, key, value)
    return tree


def split_section(key: str, value: Any) -> dict[str, Any]:
    """Return a setting by dotted keys: a mapping for a section sets the keys in it, and leaves the others as they are.

    A mapping for any other key, such as the options of a mechanism, is a value as a whole.
    """
    if key in SECTIONS and isinstance(value, Mapping):
        return {f"{key}.{name}": inner_value for name, inner_value in value.items()}
    return {key: value}


def find_key_errors(tree: Any, file_name: str = "") -> list[UserError]:
    """Return an error for every unknown or wrongly typed key; none if `Recipe.model_validate` accepts the tree."""
    try:
        Recipe.model_validate(tree)
    except ValidationError as error:
        return [_explain_errors(key_errors, file_name) for key_errors in _group_by_key(error.errors())]
    prefix = f"{file_name}: " if file_name else ""
    return [
        UserError(f"{prefix}{key}: {text}: not valid UTF-8", "rename it: the recipe could not be recorded")
        for key, text in _find_undecoded_texts(tree)
    ]


def _find_undecoded_texts(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield (key, text) of texts with bytes that are not UTF-8, as names of files and command lines may have them."""
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            yield key, value
    elif isinstance(value, Mapping | list):
        items = value.items() if isinstance(value, Mapping) else ((key, item) for item in value)
        for name, item in items:
            yield from _find_undecoded_texts(item, f"{key}.{name}" if key and isinstance(value, Mapping) else str(name))


def read(path: Path | None = None, overrides: Iterable[str] = (), values: Mapping[str, Any] | None = None) -> Recipe:
    """Return the recipe of a YAML file and overrides; only its form is checked (`attncli.validation` checks names).

    Raises CollectedError that lists every unreadable, unknown or wrongly typed key.
    """
    tree = merge_values(path, overrides, values)
    if errors := find_key_errors(tree, str(path) if path else ""):
        raise CollectedError(errors)
    return Recipe.model_validate(tree)


def set_dotted_key(tree: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key in nested dicts. Raises UserError if a part of the key holds a value already."""
    *key_parts, final_part = key.split(".")
    for key_part in key_parts:
        subtree = tree.get(key_part)
        if subtree is None:
            subtree = tree[key_part] = {}
        if not isinstance(subtree, dict):
            raise UserError(f"{key}: '{key_part}' holds a value, not keys", "give the whole key, for example train.lr")
        tree = subtree
    tree[final_part] = value


def _group_by_key(errors: list[ErrorDetails]) -> list[list[ErrorDetails]]:
    """Group the errors by key: if several types are allowed, pydantic reports one error for each of them."""
    groups: dict[str, list[ErrorDetails]] = {}
    for error in errors:
        groups.setdefault(".".join(_locate_keys(error)), []).append(error)
    return list(groups.values())


def _locate_keys(error: ErrorDetails) -> list[str]:
    """Return the keys that lead to an error, without the names of types that pydantic adds and what follows them."""
    type_index = next((index for index, step in enumerate(error["loc"]) if index > 1 and isinstance(step, str)), None)
    keys = error["loc"] if error["type"] == "extra_forbidden" else error["loc"][:type_index]
    return [str(step) for step in keys]


def _explain_errors(key_errors: list[ErrorDetails], file_name: str) -> UserError:
    """Return the errors of one key as one problem and hint, with the dotted key."""
    error, keys = key_errors[0], _locate_keys(key_errors[0])
    location = ": ".join(part for part in (file_name, ".".join(keys)) if part) or "recipe"
    if error["type"] == "extra_forbidden":
        section_types: dict[str, type[RecipeSection]] = {
            "data": Data,
            "model": Model,
            "train": Train,
            "measure": Measure,
        }
        section_type = section_types.get(keys[0], Recipe)
        return UserError(f"{location}: unknown key", _suggest_key(keys, section_type))
    allowed = " or ".join(dict.fromkeys(map(_describe_allowed, key_errors)))
    quotes = "; YAML reads yes, no and numbers as values: put such names in quotes" if _lacks_quotes(key_errors) else ""
    value = json.dumps(error["input"], default=str)
    shown_value = value if len(value) <= MOST_LETTERS else f"{value[:MOST_LETTERS]}…"
    return UserError(f"{location}: {shown_value} is not allowed", f"allowed: {allowed}{quotes}")


def _lacks_quotes(key_errors: list[ErrorDetails]) -> bool:
    """Return whether a text was wanted, and a truth value or a number was read in its place."""
    return any(
        error["type"] == "string_type" and isinstance(error["input"], bool | int | float) for error in key_errors
    )


def _suggest_key(keys: list[str], section_type: type[RecipeSection]) -> str:
    """Return the hint for an unknown key: a similar key of its section, else one of the whole recipe."""
    if keys[0] in KEYS_OF_SWEEPS:
        return f"'{keys[0]}' is a key of sweeps: attncli sweep FILE"
    if keys == ["base"]:
        return "only the recipe of a sweep has a base; `attncli recipe cp NAME FILE` copies a recipe, to change it"
    hint = suggest_name(keys[-1], section_type.model_fields)
    if len(keys) == 1 and (sections := difflib.get_close_matches(keys[0], SECTIONS, n=1, cutoff=LEAST_SIMILARITY)):
        return f"did you mean '{sections[0]}'?"
    key = None if hint.startswith("did") and len(keys) > 1 else find_recipe_key(".".join(keys))
    return f"did you mean '{key}'?" if key and key != ".".join(keys) else hint


def _describe_allowed(error: ErrorDetails) -> str:
    """Return in plain words what pydantic would have accepted."""
    text = error["msg"].removeprefix("Input should be ").replace("a valid ", "").replace("dictionary", "mapping")
    text = text.replace("String should have", "text of")
    text = re.sub(r"List should have (at (?:least|most) \d+) items?.*", r"list of \1 values", text)
    text = re.sub(r" or instance of \w+$", "", text)
    is_list_item = isinstance(error["loc"][-1], int) and any(isinstance(step, str) for step in error["loc"][2:])
    return f"list of {text}s" if is_list_item else text
