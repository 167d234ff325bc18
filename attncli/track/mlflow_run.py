"""The one MLflow run of a digest: found or created, with its parameters, tags and data set."""

import json
import os
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from attncli import recipe as recipes
from attncli.errors import RunFailedError, UserError
from attncli.recipe import Recipe
from attncli.track import experiment_views, store, tags
from attncli.track.provenance import DatasetInfo, Provenance
from attncli.track.run_names import RUN_NAME_TAG, distinguish_names
from attncli.track.store import RunStore

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

MOST_NAMESAKES = 1000  # runs of one name that a new one is told from


def get_or_create_run(
    client: "MlflowClient",
    run_store: RunStore,
    recipe: Recipe,
    provenance: Provenance,
    extra_tags: dict[str, str],
    *,
    fresh: bool = False,
    earlier: Provenance | None = None,
) -> tuple[str, bool]:
    """Find or create the MLflow run of a digest, set it RUNNING with its facts, and return (run id, whether it is new).

    `fresh` deletes an earlier one first. A run of another folder is left alone, see `find_run`.

    Args:
        earlier: the provenance that the folder had before this call, if it differs: a fresh start has another time.
    """
    other_tags = {key: value for key, value in extra_tags.items() if key != RUN_NAME_TAG}  # a user may rename a run
    all_tags = tags.build_run_tags(recipe, provenance) | other_tags | {"digest": provenance.digest}
    with store.store_lock(run_store):
        run = find_run(client, run_store, provenance.digest, earlier or provenance)
        if run is not None and fresh:
            client.delete_run(run.info.run_id)
            run = None
        is_new = run is None
        if run is None:
            experiment_id = store.get_or_create_experiment(
                client, run_store, tags.choose_experiment_name(recipe), experiment_views.build_experiment_tags(recipe)
            )
            run = client.create_run(
                experiment_id,
                start_time=provenance.started_ms,
                run_name=choose_run_name(client, run_store, experiment_id, recipe, extra_tags.get(RUN_NAME_TAG)),
                tags=all_tags,  # set with the run, so that it can be found and closed if this process is killed now
            )
    _log_run_data(client, run, recipe, provenance, {} if is_new else all_tags)  # a new run has them already
    if run.info.status != "RUNNING":  # after the tags, which name the process that runs it
        client.update_run(run.info.run_id, status="RUNNING")
    return str(run.info.run_id), is_new


def choose_run_name(
    client: "MlflowClient", run_store: RunStore, experiment_id: str, recipe: Recipe, sweep_name: str | None
) -> str:
    """Return the name of a new run, which no other run of the experiment has if that can be helped.

    It is that of its sweep if it has one and that is free; else it has the keys in which the run differs from others of
    its short name. Those whose recipe is not in the folder of runs, as other machines made them, are not looked at.
    """
    name = tags.format_run_name(recipe)
    pattern = re.sub(r"""['"%\\]""", "_", name)  # _ is any letter, and the others mean something in a filter
    others = client.search_runs([experiment_id], f"attributes.run_name LIKE '{pattern}%'", max_results=MOST_NAMESAKES)
    if sweep_name is not None and sweep_name not in {other.info.run_name for other in others}:
        return sweep_name[: tags.MAX_NAME_LENGTH]
    recipes_of_others = []
    for other in others:
        with suppress(UserError):
            path = run_store.runs / other.data.tags.get("digest", "-") / "recipe.yaml"
            recipes_of_others.append(recipes.read(path))
    return distinguish_names([recipe, *recipes_of_others])[0][: tags.MAX_NAME_LENGTH]


def find_run(client: "MlflowClient", run_store: RunStore, digest: str, origin: Provenance | None) -> "Run | None":
    """Return the run of a digest that a folder recorded, or None if there is none.

    It is the run whose id is in the folder's origin, else the oldest one. Of a store that folders may share, in which
    each of them has a run of the digest, it must have begun when the origin says: `sync` writes no id into the folder.
    """
    from mlflow.exceptions import MlflowException

    if origin is not None and origin.run_id is not None:
        with suppress(MlflowException):  # it may be a run of another store
            run = client.get_run(origin.run_id)
            if run.info.lifecycle_stage == "active" and run.data.tags.get("digest") == digest:
                return run
    experiments = [experiment.experiment_id for experiment in client.search_experiments(max_results=50_000)]
    conditions = [f"tags.digest = '{digest}'"]
    if origin is not None and not run_store.is_beside_runs():
        conditions.append(f"attributes.start_time = {origin.started_ms}")
    matching_runs = client.search_runs(
        experiments, " and ".join(conditions), order_by=["attributes.start_time ASC"], max_results=1
    )
    return matching_runs[0] if matching_runs else None


def _log_run_data(
    client: "MlflowClient", run: "Run", recipe: Recipe, provenance: Provenance, run_tags: dict[str, str]
) -> None:
    """Write parameters, tags and data set. Parameters never change in MLflow: those already there stay."""
    from mlflow.entities import Param, RunTag

    run_id, logged_params = run.info.run_id, run.data.params
    params = [Param(key, value) for key, value in tags.flatten_params(recipe).items() if key not in logged_params]
    client.log_batch(run_id, params=params, tags=[RunTag(key, value) for key, value in run_tags.items()])
    inputs = run.inputs.dataset_inputs if run.inputs else []
    if provenance.facts is not None and not any(
        logged_input.dataset.name == provenance.facts.name for logged_input in inputs
    ):
        _log_dataset(client, run_id, provenance.facts)


def _log_dataset(client: "MlflowClient", run_id: str, dataset_info: DatasetInfo) -> None:
    """Log the data set; try again if another run logged the same one at the same moment."""
    try:
        client.log_inputs(run_id, [_build_dataset_input(dataset_info)])
    except Exception:
        client.log_inputs(run_id, [_build_dataset_input(dataset_info)])


def _build_dataset_input(dataset_info: DatasetInfo) -> Any:
    """Return the data set as MLflow's input; its digest is limited to 36 characters, so the whole one is a tag."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    profile = {
        "train": dataset_info.train,
        "val": dataset_info.val,
        "test": dataset_info.test,
        "classes": len(dataset_info.classes),
    }
    schema = {"height": dataset_info.size[0], "width": dataset_info.size[1], "frames": dataset_info.frames}
    dataset = Dataset(
        name=dataset_info.name,
        digest=dataset_info.digest[:32],
        source_type="local",
        source=json.dumps({"uri": dataset_info.source}),
        schema=json.dumps(schema),
        profile=json.dumps(profile),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "train")])


def log_torch_model(net: Any, run_id: str, name: str, run_store: RunStore, example: Any) -> None:
    """Add a network (torch.nn.Module) to a run as an MLflow model of this name; `example` is a NumPy input.

    The status and the end of the run stay. Raises RunFailedError for a network that torch cannot export.
    """
    try:
        with _tracking_address(run_store.resolve_address()):
            _log_model_of_run(net, run_id, name, example)
    except Exception as error:
        if not _is_raised_in("torch", error):
            raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise RunFailedError(
            f"the network cannot be exported for MLflow: {reason[:300]}",
            "leave out --log-model; `attncli export RUN --to safetensors` writes any network",
        ) from error


@contextmanager
def _tracking_address(address: str) -> Iterator[None]:
    """Give MLflow an address, for functions that take none. It sets a variable of later runs too, which is undone."""
    import mlflow

    previous_address, variable = mlflow.get_tracking_uri(), os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(address)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(previous_address)
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        if variable is not None:
            os.environ["MLFLOW_TRACKING_URI"] = variable


def _log_model_of_run(net: Any, run_id: str, name: str, example: Any) -> None:
    """Log the model; MLflow does so in a run that is RUNNING and ends now, which is put right."""
    from importlib.metadata import version

    import mlflow

    from attncli import __version__

    client = mlflow.MlflowClient()
    info = client.get_run(run_id).info
    torch_version = version("torch").partition("+")[0]
    requirements = [f"attncli=={__version__}", f"torch=={torch_version}"]
    try:
        with mlflow.start_run(run_id=run_id):
            mlflow.pytorch.log_model(net, name=name, pip_requirements=requirements, input_example=example)
    finally:
        client.set_terminated(run_id, info.status, end_time=info.end_time)


def _is_raised_in(package: str, error: Exception) -> bool:
    """Return whether an error came through a module of the package."""
    frames = traceback.walk_tb(error.__traceback__)
    return any(str(frame.f_globals.get("__name__")).partition(".")[0] == package for frame, _ in frames)
