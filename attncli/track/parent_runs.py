"""A sweep in MLflow: one parent run per experiment, under which the dashboard nests the sweep's runs.

A sweep is identified by its name, so a later call, perhaps with more seeds, uses the same parent again.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from attncli.recipe import Recipe
from attncli.records import Status
from attncli.track import experiment_views, provenance, search, store
from attncli.track.store import RunStore
from attncli.track.store_errors import translated_store_errors
from attncli.track.tags import choose_experiment_name

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PARENT_TAG = "mlflow.parentRunId"
SWEEP_TAG = "sweep"
ParentTags = dict[str, dict[str, str]]  # by experiment: the tags of a run that belongs to the sweep


def begin_parent_runs(name: str, recipes: Iterable[Recipe], run_store: RunStore) -> ParentTags:
    """Find or create a sweep's parent runs and set them RUNNING. Raises UserError if the store does not answer."""
    client = store.connect_store(run_store)
    with translated_store_errors(run_store.resolve_address()):
        search.close_dead_runs(client, run_store.runs)
        with store.store_lock(run_store):
            experiments = {choose_experiment_name(r): r for r in recipes}
            parent_ids = {
                e: _get_or_create_parent(client, _ensure_experiment(client, run_store, r), name, r)
                for e, r in experiments.items()
            }
    return {experiment: {PARENT_TAG: run_id, SWEEP_TAG: name} for experiment, run_id in parent_ids.items()}


def _ensure_experiment(client: "MlflowClient", run_store: RunStore, recipe: Recipe) -> str:
    return store.get_or_create_experiment(
        client, run_store, choose_experiment_name(recipe), experiment_views.build_experiment_tags(recipe)
    )


def _get_or_create_parent(client: "MlflowClient", experiment_id: str, name: str, recipe: Recipe) -> str:
    """Return the MLflow id of the sweep's parent run in an experiment, which this process now owns."""
    sweep_runs = client.search_runs([experiment_id], "tags.kind = 'sweep'", max_results=50_000)
    # compared here, as MLflow's conditions take no text with both kinds of quotation marks
    matching_run: Run | None = next((run for run in sweep_runs if run.data.tags.get(SWEEP_TAG) == name), None)
    run: Run = matching_run or client.create_run(experiment_id, run_name=f"sweep {name}")
    owner = provenance.identify_process()
    parent_tags = {
        "kind": "sweep",
        SWEEP_TAG: name,
        "backbone": recipe.model.backbone_label,
        "dataset": recipe.data.name,
        "host": owner.host,
        "pid": str(owner.pid),
        "pid.started": str(owner.started),
        "mlflow.note.content": experiment_views.format_sweep_note(name, recipe),
    }
    for key, value in parent_tags.items():
        client.set_tag(run.info.run_id, key, value)
    if run.info.status != "RUNNING":
        client.update_run(run.info.run_id, status="RUNNING")
    return str(run.info.run_id)


def end_parent_runs(parents: ParentTags, digests: Iterable[str], status: Status, run_store: RunStore) -> bool:
    """Close the parents, and the runs whose process was killed; give older runs without a parent theirs.

    Return False if the store does not answer: the next sweep, run or `sync` then closes what this one left open.
    """
    try:
        client = store.connect_store(run_store)
        search.close_dead_runs(client, run_store.runs)
        wanted_digests = set(digests)
        names = {
            experiment.experiment_id: experiment.name for experiment in client.search_experiments(max_results=50_000)
        }
        for run in list(search.iterate_runs(client, list(names), {})):
            tags = parents.get(names[run.info.experiment_id], {})
            if run.data.tags["digest"] in wanted_digests and PARENT_TAG not in run.data.tags:
                for key, value in tags.items():
                    client.set_tag(run.info.run_id, key, value)
        for tags in parents.values():
            client.set_terminated(tags[PARENT_TAG], status)
    except Exception:  # a store that does not answer may raise anything
        return False
    return True
