"""Sends points to MLflow from a thread of its own: whoever hands them over never waits and never sees an error."""

import queue
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from attncli.track.points import Point

if TYPE_CHECKING:
    from mlflow import MlflowClient

BATCH = 1000  # metrics of one call, MLflow's limit
RETRY_S = 15.0  # between attempts while the store does not answer
SYSTEM = "system/"

Steps = dict[str, set[int]]


def steps(client: "MlflowClient", run_id: str, keys: Iterable[str]) -> Steps:
    """The steps that the store holds of each metric."""
    return {key: {m.step for m in client.get_metric_history(run_id, key)} for key in sorted(set(keys))}


def send(client: "MlflowClient", run_id: str, points: list[Point], known: Steps) -> int:
    """Log the points whose key and step are not `known` yet, and know them; returns how many those were."""
    from mlflow.entities import Metric

    new = [p for p in points if p.step not in known.get(p.key, ())]
    for first in range(0, len(new), BATCH):
        part = new[first : first + BATCH]
        client.log_batch(run_id, metrics=[Metric(p.key, p.value, p.timestamp_ms, p.step) for p in part])
        for point in part:
            known.setdefault(point.key, set()).add(point.step)
    return len(new)


class Writer:
    """The queue and the thread of one run.

    While the store does not answer, points wait here and are tried again; before that the store is asked what it
    has, as an attempt that failed on the way back may have been heard. System metrics of that time are let go.
    """

    def __init__(self, client: "MlflowClient", run_id: str, *, reopened: bool) -> None:
        self.problem: Exception | None = None
        self._client = client
        self._run_id = run_id
        self._known: Steps = {}
        self._ask = reopened  # whether the store may hold points that are not in `_known`
        self._pending: list[Point] = []
        self._retry_at = 0.0
        self._queue: queue.SimpleQueue[list[Point] | Callable[[], None]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True, name="attncli-mlflow")
        self._thread.start()

    def put(self, points: list[Point]) -> None:
        """Hand points over."""
        self._queue.put(points)

    def close(self, last: Callable[[], None], timeout: float) -> bool:
        """Send what is waiting, then call `last` in the thread; whether all that was over in `timeout` seconds."""
        self._queue.put(last)
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while isinstance(item := self._queue.get(), list):
            self._pending += item
            if self._queue.empty() and time.monotonic() >= self._retry_at:
                self._try(self._flush)
        self._try(self._flush)
        if self.problem is None:
            self._try(item)

    def _try(self, action: Callable[[], None]) -> None:
        """Do it; a failure is kept for the end of the run, a success forgets an earlier one."""
        try:
            action()
            self.problem = None
        except Exception as error:  # no failure of the store may reach the training
            self.problem = error
            self._ask = True
            self._known.clear()
            self._retry_at = time.monotonic() + RETRY_S
            self._pending = [p for p in self._pending if not p.key.startswith(SYSTEM)]

    def _flush(self) -> None:
        if self._ask:
            keys = {p.key for p in self._pending if not p.key.startswith(SYSTEM)} - self._known.keys()
            self._known |= steps(self._client, self._run_id, keys)
        send(self._client, self._run_id, self._pending, self._known)
        self._pending = []
