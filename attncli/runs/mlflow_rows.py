"""Runs that only an MLflow store has, and a finished run from a row of the store."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Set
from typing import Any

from pydantic import ValidationError

from attncli import recipe as recipes
from attncli import track
from attncli.errors import UserError
from attncli.recipe import Recipe
from attncli.records import PLAN_TAG, Result, recover_test_counts
from attncli.runs.finished_run import FinishedRun
from attncli.runs.unreadable import UnreadableRun, list_unknown_keys
from attncli.track import RunStore

_OPTION_PREFIX = "model.options."


def list_missing_rows(run_store: RunStore, digests: Set[str], status: str | None = None) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of the store whose digest is not among `digests`, only those with `status` if it is given.

    MLflow, which takes seconds to load, is asked only if the store may have finished runs that are not among them.
    Raises UserError if the store does not answer.
    """
    stored_digests = track.list_finished_digests(run_store)
    if stored_digests is None or not stored_digests <= digests:
        yield from (row for row in track.list_run_rows(run_store, status=status) if row["digest"] not in digests)


def convert_mlflow_row(row: Mapping[str, Any]) -> FinishedRun | UnreadableRun:
    """Return a finished run of MLflow, or what is known of it if its parameters are no recipe of this version."""
    try:
        recipe = _parse_recipe(row["params"])
        result = _convert_metrics(row, recipe, json.loads(row["tags"].get("machine") or "{}"))
    except (ValueError, OverflowError, UserError) as error:  # counts that are no numbers are among these
        version = row["tags"].get("attncli.version", "")
        return UnreadableRun(digest=row["digest"], version=version, unknown_keys=list_unknown_keys(error))
    return FinishedRun(
        recipe=recipe,
        result=result,
        dataset=recipe.data.name,
        experiment=row["experiment"],
        folder=None,
        started_ms=row["started_ms"] or 0,
    )


def list_unreadable_rows(rows: Iterable[Mapping[str, Any]]) -> list[UnreadableRun]:
    """Return the finished runs among rows of MLflow that are no runs of this version, each digest once."""
    converted = [convert_mlflow_row(row) for row in rows if row["status"] == "FINISHED"]
    readable = {run.digest for run in converted if isinstance(run, FinishedRun)}
    unreadable = {run.digest: run for run in converted if isinstance(run, UnreadableRun)}
    return [run for digest, run in unreadable.items() if digest not in readable]


def _parse_recipe(params: Mapping[str, str]) -> Recipe:
    """Return the recipe of MLflow's flat parameters. Raises ValueError or UserError if they are none."""
    try:
        return Recipe.model_validate(_build_tree(params))
    except ValidationError as error:  # earlier versions did not quote a text that looks like a number
        text_keys = {".".join(map(str, item["loc"][:2])) for item in error.errors() if item["type"] == "string_type"}
        if not text_keys & params.keys():
            raise
    return Recipe.model_validate(_build_tree(params, text_keys))


def _build_tree(params: Mapping[str, str], text_keys: Set[str] = frozenset()) -> dict[str, Any]:
    """Return flat parameters as the sections of a recipe; those of `text_keys` are texts, whatever they look like."""
    tree: dict[str, Any] = {}
    options: dict[str, Any] = {}
    for name, text in params.items():
        value = text if name in text_keys else _parse_param(text)
        if name.startswith(_OPTION_PREFIX):
            part, _, key = name.removeprefix(_OPTION_PREFIX).rpartition(".")  # a combination has them by part
            (options.setdefault(part, {}) if part else options)[key] = value
        else:
            recipes.set_dotted_key(tree, name, value)
    recipes.set_dotted_key(tree, "model.options", options)
    return tree


def _parse_param(text: str) -> Any:
    """Return the value of a parameter: text is written bare if it is no JSON, everything else as JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _convert_metrics(row: Mapping[str, Any], recipe: Recipe, machine: dict[str, Any]) -> Result:
    metrics, run_tags = row["metrics"], row["tags"]
    started_ms, ended_ms = row["started_ms"], row["ended_ms"]
    result = Result(
        digest=row["digest"],
        run_id=row["run_id"],
        status="FINISHED",
        attn=row["attn"],
        backbone=row["backbone"],
        dataset=row["dataset"],
        category=row["category"],
        seed=recipe.seed,
        epochs=recipe.train.epochs,
        test_top1=_read_accuracy(metrics, "test/top1"),
        test_top5=_read_accuracy(metrics, "test/top5"),
        test_loss=metrics.get("test/loss"),
        test_macro_f1=_read_accuracy(metrics, "test/macro_f1"),
        val_top1=metrics.get("val/top1"),
        best_val_top1=None,
        baseline=recipe.model.backbone_label,
        params=_read_count(metrics, "params"),
        baseline_params=_read_baseline_count(metrics, "params"),
        macs=_read_count(metrics, "macs"),
        baseline_macs=_read_baseline_count(metrics, "macs"),
        train_images_per_s=metrics.get("speed/train_images_per_s"),
        infer_images_per_s=metrics.get("speed/infer_images_per_s"),
        train_ratio=metrics.get("speed/train_ratio"),
        infer_ratio=metrics.get("speed/infer_ratio"),
        seconds=(ended_ms - started_ms) / 1000 if started_ms and ended_ms else 0.0,
        precision=run_tags.get("precision") or recipe.train.precision,
        device=run_tags.get("device") or "",
        machine=machine,
        group=row["group"],
        data_digest=row["data_digest"],
        folder="",
        planned_seeds=_read_plan(run_tags),
        code=run_tags.get("code"),
        test_nonfinite=int(metrics.get("test/nonfinite", 0)),
    )
    return recover_test_counts(result, int(metrics.get("test/images", 0)))


def _read_accuracy(metrics: Mapping[str, float], name: str) -> float | None:
    """Return an accuracy, or None if there is none or it is not a number, as an import from elsewhere may have it."""
    value = metrics.get(name)
    return value if value is not None and math.isfinite(value) else None


def _read_plan(run_tags: Mapping[str, str]) -> int | None:
    text = run_tags.get(PLAN_TAG, "")
    return int(text) if text.isdigit() else None


def _read_count(metrics: Mapping[str, float], name: str) -> int | None:
    value = metrics.get(f"cost/{name}")
    return None if value is None else int(value)


def _read_baseline_count(metrics: Mapping[str, float], name: str) -> int | None:
    value, added = metrics.get(f"cost/{name}"), metrics.get(f"overhead/{name}")
    return None if value is None or added is None else int(value - added)
