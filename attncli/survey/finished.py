"""Finished runs, as the claims about accuracy need them: which network, trained how, on what, with what seed.

They are read from the folder of runs itself, which takes milliseconds, and from an MLflow store where one is named.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from attncli import recipe as recipes
from attncli import records, track
from attncli.errors import UserError
from attncli.recipe import Recipe
from attncli.survey import networks

OPTION = "model.options."
RECIPE = "recipe.yaml"


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A finished run. Runs of one `protocol` differ in network and seed alone; accuracies are fractions."""

    digest: str
    run_id: str | None
    recipe: Recipe
    network: str  # as networks.key
    protocol: str
    dataset: str
    seed: int
    top1: float
    top5: float | None
    folder: str | None


def trained(runs: Path, uri: str | None = None) -> list[Trained]:
    """The finished runs of the folder, and of the store `uri` where one is given; each digest once.

    Raises UserError for a store that does not answer.
    """
    found = {run.digest: run for run in _folders(runs)}
    if uri is not None:
        for row in track.rows(uri, runs, status="FINISHED"):
            if row["digest"] not in found and (run := _from_row(row)) is not None:
                found[run.digest] = run
    return list(found.values())


def _folders(runs: Path) -> Iterator[Trained]:
    """The finished runs of the folder; what can't be read, or is of another version, is passed over."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    for path in sorted(runs.glob(f"*/{records.RESULT}")):
        result = track.finished(path.parent)
        if result is None or result.test_top1 is None:
            continue
        try:
            tree = yaml.load((path.parent / RECIPE).read_text(encoding="utf-8"), Loader=loader)
            recipe = Recipe.model_validate(tree)
            yield _trained(
                recipe,
                digest=result.digest,
                run_id=result.run_id,
                data_digest=result.data_digest,
                top1=result.test_top1,
                top5=result.test_top5,
                folder=str(path.parent),
            )
        except (OSError, ValueError, yaml.YAMLError, UserError):
            continue


def _from_row(row: Mapping[str, Any]) -> Trained | None:
    """A run of MLflow, whose parameters are the flat recipe as text; None where they are no whole one."""
    top1 = row["metrics"].get("test/top1")
    if top1 is None:
        return None
    tree: dict[str, Any] = {}
    options = {}
    try:
        for name, text in row["params"].items():
            value = recipes.parse_override(f"x={text}")[1]
            if name.startswith(OPTION):
                options[name.removeprefix(OPTION)] = value
            else:
                recipes.put(tree, name, value)
        recipes.put(tree, "model.options", options)
        return _trained(
            Recipe.model_validate(tree),
            digest=row["digest"],
            run_id=row["run_id"],
            data_digest=row["data_digest"],
            top1=top1,
            top5=row["metrics"].get("test/top5"),
            folder=None,
        )
    except (ValueError, UserError):
        return None


def _trained(
    recipe: Recipe, *, digest: str, run_id: str | None, data_digest: str, top1: float, top5: float | None,
    folder: str | None,
) -> Trained:  # fmt: skip
    return Trained(
        digest=digest,
        run_id=run_id,
        recipe=recipe,
        network=networks.key(recipe.model),
        protocol=protocol(recipe, data_digest),
        dataset=recipe.data.name,
        seed=recipe.seed,
        top1=top1,
        top5=top5,
        folder=folder,
    )


def protocol(recipe: Recipe, data_digest: str) -> str:
    """What two runs must share to be compared: all of the recipe but network and seed, and the very images."""
    whole = recipe.identity()
    kept = {name: value for name, value in whole.items() if name not in ("model", "seed")}
    return json.dumps(kept | {"images": data_digest}, sort_keys=True)
