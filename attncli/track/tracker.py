"""The way in for a run: open the store, start recording."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attncli.errors import UserError
from attncli.recipe import Recipe
from attncli.track import mlflow_run, provenance, search, store
from attncli.track.active_run import ActiveRun
from attncli.track.provenance import DatasetInfo

if TYPE_CHECKING:
    from mlflow import MlflowClient


class Tracker:
    """The store that runs are recorded in. `uri` is its address."""

    def __init__(self, client: "MlflowClient", uri: str, runs: Path) -> None:
        self.uri = uri
        self._client = client
        self._runs = runs

    @classmethod
    def open(cls, uri: str | None, runs: Path) -> "Tracker":
        """The store at `uri` (see `store.resolve_address`); `runs` is the folder of all runs.

        Runs of this host whose process died without a word are closed as KILLED. Raises UserError within
        seconds where the store does not answer or can't be written.
        """
        address = store.resolve_address(uri, runs)
        client = store.connect_store(address, runs)
        search.close_dead_runs(client, runs)
        return cls(client, address, runs)

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
        """Begin to record a run in `folder` (runs/<digest>), or go on with it: there is one MLflow run a digest.

        A run that goes on has its log.jsonl cut to the checkpoint before; the records in it are taken as logged.
        `fresh` begins anew: the earlier MLflow run, whose figures may be another code's, is deleted (which MLflow
        can undo). `tags` are added (a sweep's runs name their parent: mlflow.parentRunId). Raises UserError where the
        store refuses the run.
        """
        try:
            run_provenance = provenance.begin_provenance(folder, recipe, dataset_info, dict(machine or {}), fresh=fresh)
        except OSError as error:
            raise UserError(
                f"{folder}: {error.strerror or error}", "give a folder that can be written, --runs"
            ) from error
        try:
            run_id, is_new = mlflow_run.get_or_create_run(
                self._client, self.uri, self._runs, recipe, run_provenance, dict(tags or {}), fresh=fresh
            )
        except UserError:
            raise
        except Exception as error:
            raise store.make_store_error(self.uri, error) from error
        return ActiveRun(self._client, self.uri, run_id, folder, run_provenance, is_new)
