"""What a recipe's file sets, and which runs have it: whatever their network, dataset and seed are."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attncli import validation
from attncli.recipe import Recipe
from attncli.recipe.yaml_loader import load_yaml

_OWN_TO_A_RUN = ("model.", "data.name", "data.root", "data.content", "seed", "experiment")  # no part of a schedule


def read_recipe_settings(file: Path) -> dict[str, Any]:
    """Return what a recipe's file sets besides the network, the dataset and the seed, by dotted key.

    Raises UserError if the file cannot be read or is wrong.
    """
    values = validation.read(file).flatten_keys()
    sections = load_yaml(file)
    set_keys = {
        f"{section}.{key}" if isinstance(keys, Mapping) else section
        for section, keys in sections.items()
        for key in (keys if isinstance(keys, Mapping) else (section,))
    }
    return {key: value for key, value in values.items() if key in set_keys and is_setting(key)}


def is_setting(key: str) -> bool:
    """Return whether a dotted key is one that `--recipe` chooses runs by: not of network, dataset or seed."""
    return not key.startswith(_OWN_TO_A_RUN)


def list_other_settings(recipe: Recipe, settings: Mapping[str, Any]) -> list[str]:
    """Return the dotted keys of these settings of which a recipe has another value."""
    if not settings:
        return []
    values = recipe.flatten_keys()
    return [key for key, value in settings.items() if values[key] != value]
