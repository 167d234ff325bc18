"""Open a store and start recording runs in it."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attncli.errors import UserError
from attncli.recipe import Recipe
from attncli.track import mlflow_run, provenance, search, store
from attncli.track.active_run import ActiveRun
from attncli.track.provenance import DatasetInfo
from attncli.track.store import RunStore

if TYPE_CHECKING:
    from mlflow import MlflowClient


class Tracker:
    """The store that runs are recorded in. `uri` is its address."""

    def __init__(self, client: "MlflowClient", run_store: RunStore) -> None:
        self.uri = run_store.resolve_address()
        self._client = client
        self._run_store = run_store

    @classmethod
    def open(cls, run_store: RunStore) -> "Tracker":
        """Open the store, which is created if it does not exist.

        Runs of this host whose process died are closed as KILLED. Raises UserError within
        seconds if the store does not answer or can't be written.
        """
        client = store.connect_store(run_store)
        search.close_dead_runs(client, run_store.runs)
        return cls(client, run_store)

    def start_run(
        self,
        recipe: Recipe,
        dataset_info: DatasetInfo | None = None,
        machine: Mapping[str, Any] | None = None,
        *,
        folder: Path,
        fresh: bool = False,
        tags: Mapping[str, str] | None = None,
    ) -> ActiveRun:
        """Begin to record a run in `folder` (runs/<digest>), or resume it: there is one MLflow run per digest.

        Before a run resumes, its log.jsonl must be cut to the checkpoint; the records in it count as logged.
        `fresh` starts again: the earlier MLflow run, which may be of other code, is deleted (which MLflow
        can undo). `tags` are added (a sweep's runs name their parent: mlflow.parentRunId). Raises UserError if the
        store refuses the run.
        """
        try:
            run_provenance = provenance.begin_provenance(folder, recipe, dataset_info, dict(machine or {}), fresh=fresh)
        except OSError as error:
            raise UserError(
                f"{folder}: {error.strerror or error}", "give a folder that can be written: --runs"
            ) from error
        try:
            run_id, is_new = mlflow_run.get_or_create_run(
                self._client, self._run_store, recipe, run_provenance, dict(tags or {}), fresh=fresh
            )
        except UserError:
            raise
        except Exception as error:
            raise store.make_store_error(self.uri, error) from error
        return ActiveRun(self._client, self.uri, run_id, folder, run_provenance, is_new)
