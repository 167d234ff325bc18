"""Finished runs in the form that `compare` takes, read from their folders alone: no MLflow, no waiting."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from attncli import track
from attncli.errors import UserError
from attncli.recipe import Recipe
from attncli.records import RESULT, Result
from attncli.track.tags import flatten_params as params_of

RECIPE = "recipe.yaml"


def read_result_rows(runs: Path, uri: str | None = None) -> list[dict[str, Any]]:
    """The finished runs of the folder as rows of `track.list_run_rows`, with `folder` added where they have one.

    Those of the store `uri`, where one is given, come after them, each digest once.
    """
    rows = [row for path in sorted(runs.glob(f"*/{RESULT}")) if (row := _make_result_row(path.parent)) is not None]
    if uri is not None:
        known_digests = {row["digest"] for row in rows}
        rows += [row for row in track.list_run_rows(uri, runs, status="FINISHED") if row["digest"] not in known_digests]
    return rows


def read_folder_recipe(folder: Path) -> Recipe | None:
    """The recipe of a run's folder; None where it can't be read."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        tree: Any = yaml.load((folder / RECIPE).read_text(encoding="utf-8"), Loader=loader)
        return Recipe.model_validate(tree)
    except (OSError, ValueError, yaml.YAMLError):
        return None


def _make_result_row(folder: Path) -> dict[str, Any] | None:
    result, recipe = track.read_finished_result(folder), read_folder_recipe(folder)
    if result is None or recipe is None:
        return None
    try:
        experiment, params = track.choose_experiment_name(recipe), params_of(recipe)
    except UserError:
        return None
    return {
        "run_id": result.run_id or result.digest,
        "experiment": experiment,
        "status": result.status,
        "attn": result.attn,
        "backbone": recipe.model.backbone,
        "dataset": recipe.data.name,
        "category": result.category,
        "digest": result.digest,
        "group": result.group,
        "data_digest": result.data_digest,
        "seed": result.seed,
        "params": params,
        "metrics": {name: value for name, value in _list_result_metrics(result).items() if value is not None},
        "machine": result.machine,
        "folder": str(folder),
    }


def _list_result_metrics(result: Result) -> Mapping[str, float | None]:
    """The figures of a result under the names that MLflow has them by."""
    metrics: dict[str, float | None] = {
        "test/top1": result.test_top1,
        "test/top5": result.test_top5,
        "cost/params": result.params,
        "cost/macs": result.macs,
        "speed/train_ratio": result.train_ratio,
        "speed/infer_ratio": result.infer_ratio,
        "speed/train_images_per_s": result.train_images_per_s,
        "speed/infer_images_per_s": result.infer_images_per_s,
    }
    pairs = (("params", result.params, result.baseline_params), ("macs", result.macs, result.baseline_macs))
    for name, own_count, baseline_count in pairs:
        if own_count is not None and baseline_count:
            metrics |= {
                f"overhead/{name}": own_count - baseline_count,
                f"overhead/{name}_pct": 100 * (own_count - baseline_count) / baseline_count,
            }
    return metrics
