"""The order of a sweep's runs, and a name for each that tells it from the others."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attncli.recipe import Recipe

TOLD = ("model.attn", "model.options", "model.site", "model.stages", "model.blocks", "model.backbone", "seed")


def in_order(found: Iterable[Recipe]) -> tuple[Recipe, ...]:
    """The recipes and their baselines, each once: seed by seed, and of each seed a baseline, then its variants."""
    families: dict[int, dict[str, dict[str, Recipe]]] = {}
    for recipe in found:
        base = recipe.baseline()
        digest = base.digest()
        family = families.setdefault(recipe.seed, {}).setdefault(digest, {digest: base})
        family.setdefault(recipe.digest(), recipe)
    return tuple(r for seed in families.values() for family in seed.values() for r in family.values())


def titles(found: Sequence[Recipe]) -> list[str]:
    """A run in a few words: `eca k=3, resnet20, lr=0.1, seed 0`.

    A further key is told where its value is not that of most runs; where no value is, in every run.
    """
    flats = [recipe.flat() for recipe in found]
    usual = {key: _usual(flat[key] for flat in flats) for key in (flats[0] if flats else {}) if _tellable(key)}
    return [_title(flat, [k for k, value in usual.items() if repr(flat[k]) != value]) for flat in flats]


def _tellable(key: str) -> bool:
    return key not in TOLD and key != "data.root" and not key.startswith("measure.")


def _usual(values: Iterable[Any]) -> str | None:
    """The value of more than half, written out; None where there is none."""
    counts = Counter(map(repr, values))
    value, count = counts.most_common(1)[0]
    return value if 2 * count > counts.total() else None


def _title(flat: Mapping[str, Any], told: Iterable[str]) -> str:
    attn = str(flat["model.attn"])
    words = [Path(attn).stem if attn.endswith(".py") else attn]
    words += [f"{k}={_word(v)}" for k, v in flat["model.options"].items()]
    words += [f"{k}={_word(flat[f'model.{k}'])}" for k in ("site", "stages", "blocks") if flat[f"model.{k}"]]
    parts = [" ".join(words), str(flat["model.backbone"])]
    for key in told:
        parts.append(str(flat[key]) if key == "data.name" else f"{key.rpartition('.')[2]}={_word(flat[key])}")
    return ", ".join([*parts, f"seed {flat['seed']}"])


def _word(value: Any) -> str:
    return "+".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
