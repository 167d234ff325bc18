"""A sweep in MLflow: one parent run for each experiment that its runs are in, which the dashboard nests them under.

A sweep is known by its name, so that a later call, with more seeds perhaps, goes on with the same parent.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from attncli.errors import UserError
from attncli.recipe import Recipe
from attncli.records import Status
from attncli.track import origin, present, search, store
from attncli.track.describe import experiment_name

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PARENT = "mlflow.parentRunId"
SWEEP = "sweep"
Parents = dict[str, dict[str, str]]  # by experiment: the tags of a run that belongs to the sweep


def begin_sweep(name: str, recipes: Iterable[Recipe], *, runs: Path, uri: str | None) -> Parents:
    """The parent runs of a sweep, found or made, and now RUNNING. Raises UserError where the store does not answer."""
    address = store.address(uri, runs)
    client = store.connect(address, runs)
    try:
        search.close_lost(client, runs)
        with store.one_at_a_time(address, runs):
            experiments = {experiment_name(r): r for r in recipes}
            ids = {e: _parent(client, _experiment(client, address, runs, r), name, r) for e, r in experiments.items()}
    except UserError:
        raise
    except Exception as error:
        raise store.refused(address, error) from error
    return {experiment: {PARENT: run_id, SWEEP: name} for experiment, run_id in ids.items()}


def _experiment(client: "MlflowClient", address: str, runs: Path, recipe: Recipe) -> str:
    return store.experiment(client, address, runs, experiment_name(recipe), present.experiment(recipe))


def _parent(client: "MlflowClient", experiment_id: str, name: str, recipe: Recipe) -> str:
    """The MLflow id of the sweep's parent run in an experiment, this process's own from now on."""
    found = client.search_runs([experiment_id], f"tags.kind = 'sweep' and tags.{SWEEP} = \"{name}\"", max_results=1)
    run: Run = found[0] if found else client.create_run(experiment_id, run_name=f"sweep {name}")
    here = origin.here()
    told = {
        "kind": "sweep",
        SWEEP: name,
        "backbone": recipe.model.backbone,
        "dataset": recipe.data.name,
        "host": here.host,
        "pid": str(here.pid),
        "pid.started": str(here.started),
        "mlflow.note.content": present.of_sweep(name, recipe),
    }
    for key, value in told.items():
        client.set_tag(run.info.run_id, key, value)
    if run.info.status != "RUNNING":
        client.update_run(run.info.run_id, status="RUNNING")
    return str(run.info.run_id)


def end_sweep(parents: Parents, digests: Iterable[str], status: Status, *, runs: Path, uri: str | None) -> bool:
    """Close the parents, and the runs whose process was killed; runs without a parent (made before) get theirs.

    A store that is away raises nothing, but gives False: the next sweep, run or `sync` closes what this one left open.
    """
    try:
        client = store.connect(store.address(uri, runs), runs)
        search.close_lost(client, runs)
        wanted = set(digests)
        names = {e.experiment_id: e.name for e in client.search_experiments(max_results=50_000)}
        for run in list(search.search(client, list(names), {})):
            tags = parents.get(names[run.info.experiment_id], {})
            if run.data.tags["digest"] in wanted and PARENT not in run.data.tags:
                for key, value in tags.items():
                    client.set_tag(run.info.run_id, key, value)
        for tags in parents.values():
            client.set_terminated(tags[PARENT], status)
    except Exception:  # whatever a store that is away comes up with
        return False
    return True
