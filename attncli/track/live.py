"""A run while it goes on: written from a thread, closed once with how it ended."""

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal

from attncli import records
from attncli.records import Record, Status
from attncli.signals import held
from attncli.track import origin, store
from attncli.track.origin import Origin
from attncli.track.points import Trace, trace
from attncli.track.system import Sampler
from attncli.track.writer import Writer

if TYPE_CHECKING:
    from mlflow import MlflowClient

END_S = 90.0
COMPLETE = "complete"  # the tag by which `sync` knows that there is nothing to bring
LOOK = "look"  # the folder of what `attncli look` draws, in a run's folder and in MLflow
KEPT = ("recipe.yaml", "log.jsonl", "result.json", origin.FILE)  # and the pictures beside them


class Live:
    """One run that is being recorded. `log` and `end` never raise for the store's sake; `run_id` is MLflow's."""

    def __init__(self, client: "MlflowClient", uri: str, run_id: str, folder: Path, origin_: Origin, new: bool) -> None:
        self.run_id = run_id
        self._client = client
        self._uri = uri
        self._folder = folder
        self._origin = origin_
        self._trace = Trace(origin_.started_ms)
        self._ended = False
        self._warning: str | None = None
        self._writer = Writer(client, run_id, reopened=not new)
        for record in records.read(folder):  # of an interrupted run: what the store lacks of them is sent too
            self.log(record)
        self._sampler = Sampler(self._writer.put, origin_.started_ms)

    def log(self, record: Record) -> None:
        """Hand a record over and return; points that the store has already are not sent again."""
        self._writer.put(self._trace.points(record))

    def end(self, status: Status, timeout: float = END_S) -> str | None:
        """Send what is left, the files of the folder and the status; at most `timeout` seconds.

        Write result.json and the figures before. Returns a sentence for the user where the store could not be
        brought up to date, None where all is well. A second call changes nothing. SIGINT and SIGTERM wait for the end.
        """
        with held():
            return self._end(status, timeout)

    def _end(self, status: Status, timeout: float) -> str | None:
        if self._ended:
            return self._warning
        self._ended = True
        self._sampler.stop()
        self._origin = origin.end(self._folder, self._origin, status)
        in_time = self._writer.close(self._finish, timeout)
        problem = self._writer.problem
        if problem is not None or not in_time:
            why = store.refused(self._uri, problem).problem if problem else f"not done after {timeout:.0f} s"
            self._warning = f"not everything reached MLflow ({why}); `attncli sync` brings it in later"
        return self._warning

    def _finish(self) -> None:
        finish(self._client, self.run_id, self._folder, self._origin)

    def __enter__(self) -> "Live":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        """The safety net: an ending nobody told is FAILED on an error, KILLED on Ctrl-C, FINISHED otherwise."""
        if kind is None:
            self.end("FINISHED")
        else:
            self.end("KILLED" if issubclass(kind, KeyboardInterrupt) else "FAILED")
        return False


def finish(client: "MlflowClient", run_id: str, folder: Path, origin_: Origin) -> None:
    """Bring a run's files into the store and close it; the status is told even where the files are refused.

    Files: the recipe, the records, the result, the origin, the pictures beside them and those of `attncli look`.
    """
    try:
        for path in (*(folder / name for name in KEPT), *sorted(folder.glob("*.png"))):
            if path.exists():
                client.log_artifact(run_id, str(path))
        for path in sorted(folder.glob(f"{LOOK}/*.png")):
            client.log_artifact(run_id, str(path), LOOK)
        client.set_tag(run_id, COMPLETE, completeness(folder, origin_))
    finally:
        client.set_terminated(run_id, origin_.ending(), end_time=origin_.ended_ms)


def completeness(folder: Path, origin_: Origin) -> str:
    """What the tag `complete` says of a run whose points and files are all in the store."""
    return f"{origin_.ending()}, {len(trace(records.read(folder), origin_.started_ms))} points"
