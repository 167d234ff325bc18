"""The one MLflow run of a digest: found or created, with its parameters, tags and data set."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attncli.recipe import Recipe
from attncli.track import describe, present, store
from attncli.track.origin import Facts, Origin

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


def record(
    client: "MlflowClient",
    uri: str,
    runs: Path,
    recipe: Recipe,
    begun: Origin,
    tags: dict[str, str],
    *,
    fresh: bool = False,
) -> tuple[str, bool]:
    """(run id, whether it is new) of the MLflow run of a digest, now RUNNING, with its facts written down.

    `fresh` deletes an earlier one first.
    """
    all_tags = describe.tags(recipe, begun) | tags | {"digest": begun.digest}
    with store.one_at_a_time(uri, runs):
        run = find(client, begun.digest)
        if run is not None and fresh:
            client.delete_run(run.info.run_id)
            run = None
        new = run is None
        if run is None:
            experiment_id = store.experiment(
                client, uri, runs, describe.experiment_name(recipe), present.experiment(recipe)
            )
            run = client.create_run(
                experiment_id,
                start_time=begun.started_ms,
                run_name=describe.run_name(recipe),
                tags=all_tags,  # with the run: whoever is killed next leaves one that can be found and closed
            )
    _describe(client, run, recipe, begun, all_tags)
    if run.info.status != "RUNNING":  # after the tags: they say whose process it is that runs
        client.update_run(run.info.run_id, status="RUNNING")
    return str(run.info.run_id), new


def find(client: "MlflowClient", digest: str) -> "Run | None":
    """The run of a digest, the oldest where several machines made one each; None where there is none."""
    experiments = [e.experiment_id for e in client.search_experiments(max_results=50_000)]
    found = client.search_runs(
        experiments, f"tags.digest = '{digest}'", order_by=["attributes.start_time ASC"], max_results=1
    )
    return found[0] if found else None


def _describe(client: "MlflowClient", run: "Run", recipe: Recipe, begun: Origin, tags: dict[str, str]) -> None:
    """Write parameters, tags and data set. Parameters never change in MLflow: those already there stay."""
    from mlflow.entities import Param, RunTag

    run_id, there = run.info.run_id, run.data.params
    params = [Param(key, value) for key, value in describe.params(recipe).items() if key not in there]
    client.log_batch(run_id, params=params, tags=[RunTag(key, value) for key, value in tags.items()])
    inputs = run.inputs.dataset_inputs if run.inputs else []
    if begun.facts is not None and not any(d.dataset.name == begun.facts.name for d in inputs):
        _log_input(client, run_id, begun.facts)


def _log_input(client: "MlflowClient", run_id: str, facts: Facts) -> None:
    """Name the data set; once more where another run entered the same one at the same moment, as it is there then."""
    try:
        client.log_inputs(run_id, [_dataset(facts)])
    except Exception:
        client.log_inputs(run_id, [_dataset(facts)])


def _dataset(facts: Facts) -> Any:
    """The data set as MLflow's input; its digest has room for 36 characters, so the whole one is a tag."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    profile = {"train": facts.train, "val": facts.val, "test": facts.test, "classes": len(facts.classes)}
    schema = {"height": facts.size[0], "width": facts.size[1], "frames": facts.frames}
    data = Dataset(
        name=facts.name,
        digest=facts.digest[:32],
        source_type="local",
        source=json.dumps({"uri": facts.source}),
        schema=json.dumps(schema),
        profile=json.dumps(profile),
    )
    return DatasetInput(data, [InputTag("mlflow.data.context", "train")])
