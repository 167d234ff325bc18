"""A line of a list for each run, finished or not."""

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from attncli.errors import UserError, quote_word
from attncli.quantities import format_quantity
from attncli.recipe import Recipe
from attncli.records import RESULT
from attncli.runs.folders import RECIPE, read_folder_recipe
from attncli.runs.mlflow_rows import list_missing_rows
from attncli.runs.unreadable import describe_unreadable_folder, explain_unreadable_runs
from attncli.track import RunStore, read_finished_result
from attncli.track.provenance import ORIGIN_FILE, read_provenance
from attncli.track.run_names import distinguish_names
from attncli.track.tags import name_images

STATUS_WORDS = {"KILLED": "stopped"}  # of statuses that have another name here than in MLflow


@dataclass(frozen=True, kw_only=True)
class RunOverview:
    """One line of a list of runs, finished or not."""

    digest: str
    status: str
    dataset: str
    backbone: str
    attn: str
    seed: int | None
    epochs: int | None
    test_top1: float | None
    name: str = ""  # told from those of other runs, as in eca-resnet18-s0[lr=0.3]
    images: str = ""  # the dataset; for the user's own images the name of their folder
    started_ms: int = 0  # since 1970
    seconds: float | None = None


def list_run_overviews(
    run_store: RunStore, report_unreadable: Callable[[UserError], None] = lambda _: None
) -> list[RunOverview]:
    """Return every run of the folder in any state, and those that only the MLflow store has, newest first.

    Args:
        run_store: The folder of runs and the MLflow store.
        report_unreadable: Called for folders that cannot be read and that the store lacks too, as `read_finished_runs`
            does for finished runs.

    Raises:
        UserError: The store does not answer.
    """
    overviews = _list_folder_overviews(run_store.runs)
    digests = {overview.digest for overview in overviews}
    overviews += [_convert_row_to_overview(row) for row in list_missing_rows(run_store, digests)]
    listed_digests = {overview.digest for overview in overviews}
    unlisted_folders = [folder for folder in _find_folders_of_runs(run_store.runs) if folder.name not in listed_digests]
    unreadable = [describe_unreadable_folder(folder) for folder in unlisted_folders]
    for error in explain_unreadable_runs(unreadable, kind="run"):
        report_unreadable(error)
    return sorted(overviews, key=lambda overview: overview.started_ms, reverse=True)


def describe_unfinished_runs(runs: Path) -> str:
    """Return how many runs of a folder are not finished, and the command that resumes the latest; "" if there are none.

    A run that is being trained is counted, and not resumed.
    """
    unfinished = [overview for overview in _list_folder_overviews(runs) if overview.status != "FINISHED"]
    if not unfinished:
        return ""
    counts = Counter(STATUS_WORDS.get(overview.status, overview.status.lower()) for overview in unfinished)
    count_text = f"{format_quantity(len(unfinished), 'run')} ({', '.join(f'{n} {word}' for word, n in counts.items())})"
    resumable = [overview for overview in unfinished if overview.status != "RUNNING"]
    latest = max(resumable, key=lambda overview: overview.started_ms, default=None)
    resume = f"`attncli run {quote_word(runs / latest.digest / RECIPE)}` resumes the latest, " if latest else ""
    return f"not finished: {count_text}; {resume}`attncli ls runs` lists all"


def _find_folders_of_runs(runs: Path) -> list[Path]:
    """Return the folders that have a file of a run, whether it can be read or not."""
    return sorted({path.parent for name in (RECIPE, RESULT, ORIGIN_FILE) for path in runs.glob(f"*/{name}")})


def _convert_row_to_overview(row: Mapping[str, Any]) -> RunOverview:
    started_ms, ended_ms = row["started_ms"] or 0, row["ended_ms"]
    names = ("digest", "status", "dataset", "backbone", "attn", "seed", "epochs", "test_top1", "name")
    return RunOverview(
        **{name: row[name] for name in names},
        images=row["dataset"],
        started_ms=started_ms,
        seconds=(ended_ms - started_ms) / 1000 if ended_ms and started_ms else None,
    )


def _list_folder_overviews(runs: Path) -> list[RunOverview]:
    """Return an overview of each run folder; those without a readable recipe are skipped."""
    readable: dict[Path, Recipe] = {}
    for path in runs.glob(f"*/{RECIPE}"):
        with suppress(OSError, ValueError, yaml.YAMLError, UserError):
            readable[path.parent] = read_folder_recipe(path.parent)
    names = distinguish_names(list(readable.values()))
    return [
        _describe_folder(folder, recipe, name) for (folder, recipe), name in zip(readable.items(), names, strict=True)
    ]


def _describe_folder(folder: Path, recipe: Recipe, name: str) -> RunOverview:
    result, provenance = read_finished_result(folder), read_provenance(folder)
    unfinished_status = "KILLED" if provenance is None else provenance.current_status()  # as in `attncli sync`
    return RunOverview(
        digest=folder.name,
        status=result.status if result else unfinished_status,
        dataset=recipe.data.name,
        backbone=recipe.model.backbone_label,
        attn=result.attn if result else recipe.model.attn,
        seed=recipe.seed,
        epochs=recipe.train.epochs,
        test_top1=result.test_top1 if result else None,
        name=name,
        images=name_images(recipe),
        started_ms=provenance.started_ms if provenance else 0,
        seconds=result.seconds if result else None,
    )
