"""Brings runs from their folders into a store: what it lacks is added, what it has stays, nothing is doubled."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from attncli import recipe as recipes
from attncli import records
from attncli.errors import UserError
from attncli.recipe import Recipe
from attncli.track import live, origin, register, search, store
from attncli.track.origin import Origin, Process
from attncli.track.points import trace
from attncli.track.writer import send, steps

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


@dataclass(frozen=True, kw_only=True)
class Synced:
    """What was done for one folder: `problem` says why nothing could be."""

    digest: str
    run_id: str | None = None
    created: bool = False
    points: int = 0  # added
    status: str = ""
    problem: str = ""


def sync(runs: Path, uri: str | None = None, progress: Callable[[int, int], None] | None = None) -> list[Synced]:
    """Bring every run of the folder `runs` into the store; what was done, one entry a run folder.

    Runs that go on just now are left to their own process. `progress` gets (done, all). Raises UserError for a
    store that does not answer; a folder that can't be read is told in its entry and stops nothing.
    """
    address = store.address(uri, runs)
    client = store.connect(address, runs)
    there = _there(client, address)
    folders = sorted(path.parent for path in runs.glob("*/recipe.yaml"))
    done = []
    for i, folder in enumerate(folders, 1):
        done.append(_one(client, address, runs, folder, there.get(folder.name)))
        if progress:
            progress(i, len(folders))
    return done


def _there(client: "MlflowClient", uri: str) -> dict[str, "Run"]:
    """The runs of the store by digest."""
    try:
        experiments = [e.experiment_id for e in client.search_experiments(max_results=50_000)]
        return {run.data.tags["digest"]: run for run in search.search(client, experiments, {})}
    except Exception as error:
        raise store.refused(uri, error) from error


def _one(client: "MlflowClient", uri: str, runs: Path, folder: Path, run: "Run | None") -> Synced:
    try:
        recipe = recipes.read(folder / "recipe.yaml")
        begun = origin.read(folder) or _guess(folder, recipe)
        if begun.ending() == "RUNNING":
            return Synced(digest=folder.name, status="RUNNING")
        if run is not None and run.data.tags.get(live.COMPLETE) == live.completeness(folder, begun):
            return Synced(digest=folder.name, run_id=run.info.run_id, status=begun.ending())
        return _bring(client, uri, runs, folder, recipe, begun)
    except UserError as error:
        return Synced(digest=folder.name, problem=error.problem)
    except Exception as error:  # one run that the store or the disk refuses leaves the others
        return Synced(digest=folder.name, problem=store.refused(uri, error).problem)


def _bring(client: "MlflowClient", uri: str, runs: Path, folder: Path, recipe: Recipe, begun: Origin) -> Synced:
    run_id, new = register.record(client, uri, runs, recipe, begun, {})
    points = trace(records.read(folder), begun.started_ms)
    known = {} if new else steps(client, run_id, (p.key for p in points))
    added = send(client, run_id, points, known)
    live.finish(client, run_id, folder, begun)
    return Synced(digest=folder.name, run_id=run_id, created=new, points=added, status=begun.ending())


def _guess(folder: Path, recipe: Recipe) -> Origin:
    """The origin of a folder without origin.json, from its files: when they were written, how the result ends."""
    started = (folder / "recipe.yaml").stat().st_mtime_ns // 1_000_000
    result = folder / "result.json"
    status: records.Status = "KILLED"
    if result.exists():
        status = recipes.load_yaml(result).get("status", "FINISHED")
    return Origin(
        digest=folder.name,
        group=recipe.group(),
        started_ms=started,
        process=Process(host="", pid=0, started=0.0),
        status=status,
    )
