"""The order of a sweep's runs, and a short title that distinguishes each from the others."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attncli.recipe import Recipe
from attncli.system.code_reference import label_mechanism_name

TITLE_KEYS = ("model.attn", "model.options", "model.site", "model.stages", "model.blocks", "model.backbone", "seed")


def order_recipes(recipes: Iterable[Recipe]) -> tuple[Recipe, ...]:
    """Return the recipes and their baselines, each once: seed by seed, per seed a baseline, then its variants."""
    families: dict[int, dict[str, dict[str, Recipe]]] = {}
    for recipe in recipes:
        baseline = recipe.make_baseline()
        digest = baseline.compute_digest()
        family = families.setdefault(recipe.seed, {}).setdefault(digest, {digest: baseline})
        family.setdefault(recipe.compute_digest(), recipe)
    return tuple(member for seed in families.values() for family in seed.values() for member in family.values())


def make_titles(recipes: Sequence[Recipe]) -> list[str]:
    """Return a short title per run: `eca k=3, resnet20, lr=0.1, seed 0`.

    Another key is shown if its value is not that of more than half of the runs.
    """
    flat_recipes = [recipe.flatten_keys() for recipe in recipes]
    usual_values = {
        key: _find_majority(flat_recipe[key] for flat_recipe in flat_recipes)
        for key in (flat_recipes[0] if flat_recipes else {})
        if _is_title_key(key)
    }
    return [
        _make_title(flat_recipe, [name for name, value in usual_values.items() if repr(flat_recipe[name]) != value])
        for flat_recipe in flat_recipes
    ]


def _is_title_key(key: str) -> bool:
    return key not in TITLE_KEYS and key != "data.content" and not key.startswith("measure.")


def _find_majority(values: Iterable[Any]) -> str | None:
    """Return the repr of the value that more than half have, or None if there is none."""
    counts = Counter(map(repr, values))
    value, count = counts.most_common(1)[0]
    return value if 2 * count > counts.total() else None


def _make_title(flat_recipe: Mapping[str, Any], further_keys: Iterable[str]) -> str:
    attn = str(flat_recipe["model.attn"])
    words = [label_mechanism_name(attn)]
    words += [f"{name}={_format_setting(value)}" for name, value in flat_recipe["model.options"].items()]
    words += [
        f"{name}={_format_setting(flat_recipe[f'model.{name}'])}"
        for name in ("site", "stages", "blocks")
        if flat_recipe[f"model.{name}"]
    ]
    parts = [" ".join(words), str(flat_recipe["model.backbone"])]
    for key in further_keys:
        parts.append(
            str(flat_recipe[key])
            if key == "data.name"
            else f"{key.rpartition('.')[2]}={_format_setting(flat_recipe[key])}"
        )
    return ", ".join([*parts, f"seed {flat_recipe['seed']}"])


def _format_setting(value: Any) -> str:
    return "+".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
