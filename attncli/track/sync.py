"""Bring runs from their folders into a store: what it lacks is added, what it has stays, nothing is duplicated."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from attncli import recipe as recipes
from attncli import records
from attncli.errors import UserError
from attncli.recipe import Recipe
from attncli.track import active_run, mlflow_run, provenance, search, store, tags
from attncli.track.metric_writer import fetch_known_steps, send_points
from attncli.track.metrics import collect_run_metrics
from attncli.track.provenance import ProcessIdentity, Provenance
from attncli.track.store import RunStore
from attncli.track.store_errors import make_store_error, translated_store_errors

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


@dataclass(frozen=True, kw_only=True)
class SyncOutcome:
    """What was done for one folder; `problem` says why if nothing could be done."""

    digest: str
    run_id: str | None = None
    created: bool = False
    points: int = 0  # points added
    status: str = ""
    problem: str = ""


def sync_runs(run_store: RunStore, progress: Callable[[int, int], None] | None = None) -> list[SyncOutcome]:
    """Bring every run of the folder `runs` into the store; return what was done, one entry per run folder.

    Runs that are running now are left to their own process. `progress` gets (done, all). Raises UserError for a
    store that does not answer; a folder that can't be read is reported in its entry and stops nothing.
    """
    client = store.connect_store(run_store)
    stored_runs = _index_runs(client, run_store)
    folders = sorted(path.parent for path in run_store.runs.glob("*/recipe.yaml"))
    outcomes = []
    for i, folder in enumerate(folders, 1):
        outcomes.append(_sync_folder(client, run_store, folder, stored_runs))
        if progress:
            progress(i, len(folders))
    return outcomes


def _index_runs(client: "MlflowClient", run_store: RunStore) -> dict[str, "Run"]:
    """Return the runs of the store by their ids, and by what tells the run of a folder if its id is not known."""
    with translated_store_errors(run_store.resolve_address()):
        experiments = [experiment.experiment_id for experiment in client.search_experiments(max_results=50_000)]
        runs = list(search.iterate_runs(client, experiments, {}))
    by_origin = {_format_origin_key(run_store, run.data.tags["digest"], run.info.start_time): run for run in runs}
    return by_origin | {run.info.run_id: run for run in runs}


def _format_origin_key(run_store: RunStore, digest: str, started_ms: int) -> str:
    """Return the digest; of a store in which several folders may have a run of it, with its start."""
    return digest if run_store.is_beside_runs() else f"{digest} {started_ms}"


def _find_stored_run(run_store: RunStore, origin: Provenance, stored_runs: Mapping[str, "Run"]) -> "Run | None":
    """Return the stored run of a folder, as `mlflow_run.find_run` finds it."""
    key = _format_origin_key(run_store, origin.digest, origin.started_ms)
    return stored_runs.get(origin.run_id or key, stored_runs.get(key))


def _sync_folder(
    client: "MlflowClient", run_store: RunStore, folder: Path, stored_runs: Mapping[str, "Run"]
) -> SyncOutcome:
    try:
        recipe = recipes.read(folder / "recipe.yaml")
        run_provenance = provenance.read_provenance(folder) or _guess_provenance(folder, recipe)
        if run_provenance.current_status() == "RUNNING":
            return SyncOutcome(digest=folder.name, status="RUNNING")
        run = _find_stored_run(run_store, run_provenance, stored_runs)
        if run is not None and _is_up_to_date(run, folder, run_provenance):
            return SyncOutcome(digest=folder.name, run_id=run.info.run_id, status=run_provenance.current_status())
        return _upload_run(client, run_store, folder, recipe, run_provenance)
    except UserError as error:
        return SyncOutcome(digest=folder.name, problem=error.problem)
    except Exception as error:  # a run that the store or the disk refuses does not stop the others
        return SyncOutcome(digest=folder.name, problem=make_store_error(run_store.resolve_address(), error).problem)


def _is_up_to_date(run: "Run", folder: Path, run_provenance: Provenance) -> bool:
    """Return whether a stored run has all points and files of its folder, and its status."""
    is_complete = run.data.tags.get(active_run.COMPLETE_TAG) == active_run.summarize_completeness(
        folder, run_provenance
    )
    return is_complete and bool(run.info.status == run_provenance.current_status())


def _upload_run(
    client: "MlflowClient", run_store: RunStore, folder: Path, recipe: Recipe, run_provenance: Provenance
) -> SyncOutcome:
    run_id, is_new = mlflow_run.get_or_create_run(
        client, run_store, recipe, run_provenance, tags.build_condition_tags(records.read_result(folder))
    )
    points = collect_run_metrics(records.read(folder), run_provenance.started_ms)
    known_steps = {} if is_new else fetch_known_steps(client, run_id, (p.key for p in points))
    added_points = send_points(client, run_id, points, known_steps)
    active_run.upload_and_close(client, run_id, folder, run_provenance)
    return SyncOutcome(
        digest=folder.name, run_id=run_id, created=is_new, points=added_points, status=run_provenance.current_status()
    )


def _guess_provenance(folder: Path, recipe: Recipe) -> Provenance:
    """Return the origin of a folder without origin.json, guessed from its files' times and its result."""
    started_ms = (folder / "recipe.yaml").stat().st_mtime_ns // 1_000_000
    result = folder / "result.json"
    status: records.Status = "KILLED"
    if result.exists():
        status = recipes.load_yaml(result).get("status", "FINISHED")
    return Provenance(
        digest=folder.name,
        group=recipe.compute_group(),
        started_ms=started_ms,
        process=ProcessIdentity(host="", pid=0, started=0.0),
        status=status,
    )
