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
from attncli.claims import networks
from attncli.errors import UserError
from attncli.recipe import Recipe

OPTION = "model.options."
RECIPE = "recipe.yaml"


@dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """A finished run. Runs of one `make_protocol_key` differ in network and seed alone; accuracies are fractions."""

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


def read_finished_runs(runs: Path, uri: str | None = None) -> list[FinishedRun]:
    """The finished runs of the folder, and of the store `uri` where one is given; each digest once.

    Raises UserError for a store that does not answer.
    """
    runs_by_digest = {run.digest: run for run in _read_run_folders(runs)}
    if uri is not None:
        for row in track.list_run_rows(uri, runs, status="FINISHED"):
            if row["digest"] not in runs_by_digest and (run := _convert_mlflow_row(row)) is not None:
                runs_by_digest[run.digest] = run
    return list(runs_by_digest.values())


def _read_run_folders(runs: Path) -> Iterator[FinishedRun]:
    """The finished runs of the folder; what can't be read, or is of another version, is passed over."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    for path in sorted(runs.glob(f"*/{records.RESULT}")):
        result = track.read_finished_result(path.parent)
        if result is None or result.test_top1 is None:
            continue
        try:
            tree = yaml.load((path.parent / RECIPE).read_text(encoding="utf-8"), Loader=loader)
            recipe = Recipe.model_validate(tree)
            yield _make_finished_run(
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


def _convert_mlflow_row(row: Mapping[str, Any]) -> FinishedRun | None:
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
                recipes.set_dotted_key(tree, name, value)
        recipes.set_dotted_key(tree, "model.options", options)
        return _make_finished_run(
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


def _make_finished_run(
    recipe: Recipe, *, digest: str, run_id: str | None, data_digest: str, top1: float, top5: float | None,
    folder: str | None,
) -> FinishedRun:  # fmt: skip
    return FinishedRun(
        digest=digest,
        run_id=run_id,
        recipe=recipe,
        network=networks.make_network_key(recipe.model),
        protocol=make_protocol_key(recipe, data_digest),
        dataset=recipe.data.name,
        seed=recipe.seed,
        top1=top1,
        top5=top5,
        folder=folder,
    )


def make_protocol_key(recipe: Recipe, data_digest: str) -> str:
    """What two runs must share to be compared: all of the recipe but network and seed, and the very images."""
    identity = recipe.build_identity()
    shared = {name: value for name, value in identity.items() if name not in ("model", "seed")}
    return json.dumps(shared | {"images": data_digest}, sort_keys=True)
