"""Finished runs, from the folder of runs and from an MLflow store."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import yaml

from attncli import track
from attncli.errors import UserError
from attncli.records import RESULT, Result
from attncli.runs.finished_run import FinishedRun
from attncli.runs.folders import read_folder_recipe
from attncli.runs.mlflow_rows import convert_mlflow_row, list_missing_rows
from attncli.runs.unreadable import UnreadableRun, explain_unreadable_runs, list_unreadable_folders
from attncli.track import RunStore, read_finished_result


def read_finished_runs(
    run_store: RunStore, report_unreadable: Callable[[UserError], None] = lambda _: None
) -> list[FinishedRun]:
    """Return the finished runs of the folder, then those that only the MLflow store has; each digest once.

    Args:
        run_store: The folder of runs and the MLflow store.
        report_unreadable: Called once for the runs of newer versions and once for the damaged ones, wherever they are,
            with an error that says how many there are and what to do. These runs are left out.

    Raises:
        UserError: The store does not answer.
    """
    finished_runs = list(read_folder_runs(run_store.runs))
    by_digest: dict[str, FinishedRun] = {}
    unreadable: dict[str, UnreadableRun] = {}
    for row in list_missing_rows(run_store, {run.digest for run in finished_runs}, "FINISHED"):
        if row["digest"] in by_digest:
            continue
        run = convert_mlflow_row(row)
        if isinstance(run, FinishedRun):
            by_digest[run.digest] = run
        else:
            unreadable.setdefault(run.digest, run)
    finished_runs += by_digest.values()
    unreadable |= {run.digest: run for run in list_unreadable_folders(run_store.runs, finished_runs)}
    for error in explain_unreadable_runs([run for digest, run in unreadable.items() if digest not in by_digest]):
        report_unreadable(error)
    return finished_runs


def list_untracked_runs(run_store: RunStore, finished_runs: Iterable[FinishedRun]) -> list[FinishedRun]:
    """Return those finished runs that an existing SQLite store lacks, for example as they were deleted in MLflow."""
    by_digest = {run.digest: run for run in finished_runs}
    return [by_digest[digest] for digest in track.list_untracked_digests(run_store, by_digest)]


def read_folder_runs(runs: Path, *, dataset: str | None = None) -> Iterator[FinishedRun]:
    """Read the finished runs of a folder of runs (on one `dataset`, if given), by digest.

    Runs that cannot be read are skipped.
    """
    for path in sorted(runs.glob(f"*/{RESULT}")):
        result = read_finished_result(path.parent)
        if result is not None and dataset in (None, result.dataset):
            run = _make_folder_run(path.parent, result)
            if run is not None:
                yield run


def read_folder_run(folder: Path) -> FinishedRun | None:
    """Read the finished run of its folder; None if it is not finished or cannot be read."""
    result = read_finished_result(folder)
    return None if result is None else _make_folder_run(folder, result)


def _make_folder_run(folder: Path, result: Result) -> FinishedRun | None:
    try:
        recipe = read_folder_recipe(folder)
        experiment = track.choose_experiment_name(recipe)
    except (OSError, ValueError, yaml.YAMLError, UserError):
        return None
    return FinishedRun(recipe=recipe, result=result, dataset=recipe.data.name, experiment=experiment, folder=folder)
