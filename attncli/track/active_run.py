"""Open a store and record runs in it: each is written from a thread and closed once with its final status."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from attncli import records
from attncli.errors import UserError
from attncli.recipe import Recipe
from attncli.recipe.run_weights import CHECKPOINT_STATE
from attncli.records import Record, Status
from attncli.system.signals import deferred_signals
from attncli.track import mlflow_run, predictions, provenance, search, store
from attncli.track.metric_writer import MetricWriter
from attncli.track.metrics import MetricStream, collect_run_metrics
from attncli.track.parent_runs import PARENT_TAG
from attncli.track.provenance import DatasetInfo, Provenance
from attncli.track.store import RunStore
from attncli.track.store_errors import make_store_error, translated_store_errors
from attncli.track.system_metrics import SystemSampler
from attncli.track.tags import build_figure_tags

if TYPE_CHECKING:
    from mlflow import MlflowClient

END_S = 90.0
COMPLETE_TAG = "complete"  # the tag by which `sync` knows that nothing is missing
LOOK_FOLDER = "look"  # the folder of the pictures of `attncli look`, in a run's folder and in MLflow
UPLOADED_FILES = (  # and the pictures beside them
    "recipe.yaml", "log.jsonl", "result.json", provenance.ORIGIN_FILE, predictions.PREDICTIONS_FILE
)  # fmt: skip


class ActiveRun:
    """One run that is being recorded. `log_record` and `end_run` never raise errors of the store."""

    def __init__(
        self, client: "MlflowClient", uri: str, run_id: str, folder: Path, run_provenance: Provenance, is_new: bool
    ) -> None:
        self.run_id = run_id
        self._client = client
        self._uri = uri
        self._folder = folder
        self._provenance = run_provenance
        self._metric_stream = MetricStream(run_provenance.started_ms)
        self._ended = False
        self._warning: str | None = None
        self._writer = MetricWriter(client, run_id, reopened=not is_new)
        for record in records.read(folder):  # records of an interrupted run: those that the store lacks are sent too
            self.log_record(record)
        self._sampler = SystemSampler(self._writer.put_points, run_provenance.started_ms)

    def log_record(self, record: Record) -> None:
        """Queue a record and return; points that the store has already are not sent again."""
        self._writer.put_points(self._metric_stream.convert_record(record))

    def end_run(self, status: Status, timeout: float = END_S) -> str | None:
        """Send what is left, the files of the folder and the status, in at most `timeout` seconds.

        Write result.json and the figures before. Return a warning for the user if the store could not be
        brought up to date, or None if all is well. A second call changes nothing. SIGINT and SIGTERM wait for it.
        """
        with deferred_signals():
            return self._end_once(status, timeout)

    def _end_once(self, status: Status, timeout: float) -> str | None:
        if self._ended:
            return self._warning
        self._ended = True
        self._sampler.stop_sampling()
        self._provenance = provenance.end_provenance(self._folder, self._provenance, status)
        ended_in_time = self._writer.close(self._upload_and_close, timeout)
        problem = self._writer.problem
        if problem is not None or not ended_in_time:
            reason = make_store_error(self._uri, problem).problem if problem else f"not done after {timeout:.0f} s"
            self._warning = f"not everything reached MLflow ({reason}); `attncli sync` sends it later"
        return self._warning

    def _upload_and_close(self) -> None:
        upload_and_close(self._client, self.run_id, self._folder, self._provenance)

    def __enter__(self) -> "ActiveRun":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        """End the run if nobody did: FAILED on an error, KILLED on Ctrl-C, FINISHED otherwise."""
        if kind is None:
            self.end_run("FINISHED")
        else:
            self.end_run("KILLED" if issubclass(kind, KeyboardInterrupt) else "FAILED")
        return False


class Tracker:
    """The store that runs are recorded in. `uri` is its address."""

    def __init__(self, client: "MlflowClient", run_store: RunStore) -> None:
        self.uri = run_store.resolve_address()
        self._client = client
        self._run_store = run_store

    @classmethod
    def open(cls, run_store: RunStore, *, close_dead_runs: bool = True) -> "Tracker":
        """Open the store, which is created if it does not exist.

        Runs of this host whose process died are closed as KILLED, unless the caller has seen to that. Raises UserError
        within seconds if the store does not answer or can't be written.
        """
        client = store.connect_store(run_store)
        if close_dead_runs:
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
        """Begin to record a run in `folder` (runs/<digest>), or resume it: there is one MLflow run per folder.

        Before a run resumes, its log.jsonl must be cut to the checkpoint; the records in it count as logged.
        `fresh` starts again: the earlier MLflow run, which may be of other code, is deleted (which MLflow
        can undo). A run whose folder was deleted starts again too. What a store that several folders may share has of
        the digest is left alone if the origin in `folder` does not say that it is of this folder.
        `tags` are added (a sweep's runs name their parent: mlflow.parentRunId). Raises UserError if the store refuses
        the run.
        """
        earlier = provenance.read_provenance(folder)
        is_first = earlier is None and not (folder / CHECKPOINT_STATE).exists()
        try:
            run_provenance = provenance.begin_provenance(
                folder,
                recipe,
                dataset_info,
                dict(machine or {}),
                fresh=fresh,
                in_sweep=PARENT_TAG in (tags or {}),
                tags=tags,
            )
        except OSError as error:
            raise UserError(
                f"{folder}: {error.strerror or error}", "give a folder that can be written: --runs"
            ) from error
        with translated_store_errors(self.uri):
            run_id, is_new = mlflow_run.get_or_create_run(
                self._client,
                self._run_store,
                recipe,
                run_provenance,
                dict(tags or {}),
                fresh=fresh or is_first,
                earlier=earlier,
            )
            run_provenance = provenance.keep_run_id(folder, run_provenance, run_id)
        return ActiveRun(self._client, self.uri, run_id, folder, run_provenance, is_new)


def upload_and_close(client: "MlflowClient", run_id: str, folder: Path, run_provenance: Provenance) -> None:
    """Bring a run's files into the store and close the run there; the status is set even if the files are refused.

    Files: the recipe, the records, the result, the origin, the pictures beside them and those of `attncli look`.
    """
    try:
        for path in (*(folder / name for name in UPLOADED_FILES), *sorted(folder.glob("*.png"))):
            if path.exists():
                client.log_artifact(run_id, str(path))
        for path in sorted(folder.glob(f"{LOOK_FOLDER}/*.png")):
            client.log_artifact(run_id, str(path), LOOK_FOLDER)
        for key, value in build_figure_tags(records.read_result(folder)).items():
            client.set_tag(run_id, key, value)
        client.set_tag(run_id, COMPLETE_TAG, summarize_completeness(folder, run_provenance))
    finally:
        ended_ms = run_provenance.ended_ms or search.find_last_write_ms(folder)
        client.set_terminated(run_id, run_provenance.current_status(), end_time=ended_ms)


def summarize_completeness(folder: Path, run_provenance: Provenance) -> str:
    """Return the tag `complete` of a run whose points and files are all in the store."""
    points = collect_run_metrics(records.read(folder), run_provenance.started_ms)
    return f"{run_provenance.current_status()}, {len(points)} points"
