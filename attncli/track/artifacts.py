"""Attach files to an experiment, such as the plot of a comparison, or to a run."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attncli.errors import UserError
from attncli.track import mlflow_run, store
from attncli.track.provenance import read_provenance
from attncli.track.store import RunStore
from attncli.track.store_errors import redact_address, translated_store_errors

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

KIND_TAG = "kind"
MODEL_NAME = "network"


def attach_to_experiment(
    files: Sequence[Path], *, run_store: RunStore, experiment: str, kind: str = "comparison"
) -> str:
    """Put files into the experiment's one run of this `kind`, made on the first call; return its MLflow id.

    Files of the same name are replaced. That run has no digest, so `list_run_rows` omits it. Raises UserError if
    the store does not answer or refuses.
    """
    client = store.connect_store(run_store)
    with translated_store_errors(run_store.resolve_address()):
        with store.store_lock(run_store):
            experiment_id = store.get_or_create_experiment(client, run_store, experiment)
            matching_runs = client.search_runs([experiment_id], f"tags.{KIND_TAG} = '{kind}'", max_results=1)
            run = (
                matching_runs[0]
                if matching_runs
                else client.create_run(experiment_id, run_name=kind, tags={KIND_TAG: kind})
            )
        run_id = str(run.info.run_id)
        for file in files:
            client.log_artifact(run_id, str(file))
        client.set_terminated(run_id, "FINISHED")
    return run_id


def _require_run(client: "MlflowClient", digest: str, run_store: RunStore, hint: str) -> "Run":
    """Return the run of a digest. Raises UserError with the hint if the store does not have it."""
    run = mlflow_run.find_run(client, run_store, digest, read_provenance(run_store.runs / digest))
    if run is None:
        raise UserError(f"run {digest} is not in {redact_address(run_store.resolve_address())}", hint)
    return run


def log_network(net: Any, digest: str, *, example: Any, run_store: RunStore) -> str:
    """Add a network (torch.nn.Module) to a digest's run as an MLflow model; return the address that loads it.

    `example` is an input of the network as a NumPy array, by which MLflow traces it.
    Raises UserError if the store does not answer or does not have the run.
    """
    client = store.connect_store(run_store)
    with translated_store_errors(run_store.resolve_address()):
        run = _require_run(client, digest, run_store, "`attncli sync` adds it")
        run_id = str(run.info.run_id)
        mlflow_run.log_torch_model(net, run_id, MODEL_NAME, run_store, example)
    return f"runs:/{run_id}/{MODEL_NAME}"


def delete_runs(digest: str, *, run_store: RunStore) -> int:
    """Delete the runs of a digest in MLflow, as MLflow deletes: they go to its bin. Return how many there were.

    Of a store that folders may share only the run of this folder is deleted, and none if its origin is lost.
    An experiment that has no run any more is deleted too.

    Raises UserError if the store does not answer. Without a store there is nothing to delete.
    """
    if not run_store.has_store():
        return 0
    origin = read_provenance(run_store.runs / digest)
    if origin is None and not run_store.is_beside_runs():
        return 0
    client = store.connect_store(run_store)
    deleted = 0
    with translated_store_errors(run_store.resolve_address()):
        while (run := mlflow_run.find_run(client, run_store, digest, origin)) is not None:
            client.delete_run(run.info.run_id)
            deleted += 1
            store.delete_empty_experiment(client, run.info.experiment_id)
    return deleted


def attach_to_run(files: Sequence[Path], digest: str, subfolder: str, *, run_store: RunStore) -> str:
    """Put files into the folder `subfolder` of a digest's run; return its MLflow id. Same names are replaced.

    Raises UserError if the store does not answer or does not have the run.
    """
    client = store.connect_store(run_store)
    with translated_store_errors(run_store.resolve_address()):
        run = _require_run(client, digest, run_store, "`attncli sync` adds it; or leave MLflow out with --no-track")
        for file in files:
            client.log_artifact(run.info.run_id, str(file), subfolder)
    return str(run.info.run_id)
