"""Send points to MLflow from a separate thread: the caller never waits and never gets an error."""

import queue
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from attncli.track.metrics import MetricPoint

if TYPE_CHECKING:
    from mlflow import MlflowClient

BATCH_SIZE = 1000  # metrics per call, MLflow's limit
RETRY_S = 15.0  # time between attempts while the store does not answer
SYSTEM_PREFIX = "system/"

KnownSteps = dict[str, set[int]]


def fetch_known_steps(client: "MlflowClient", run_id: str, keys: Iterable[str]) -> KnownSteps:
    """Return the steps that the store holds of each metric."""
    return {key: {metric.step for metric in client.get_metric_history(run_id, key)} for key in sorted(set(keys))}


def send_points(client: "MlflowClient", run_id: str, points: list[MetricPoint], known_steps: KnownSteps) -> int:
    """Log the points whose key and step are not in `known_steps`, add them there, and return their number."""
    from mlflow.entities import Metric

    new_points = [p for p in points if p.step not in known_steps.get(p.key, ())]
    for first in range(0, len(new_points), BATCH_SIZE):
        batch = new_points[first : first + BATCH_SIZE]
        client.log_batch(run_id, metrics=[Metric(p.key, p.value, p.timestamp_ms, p.step) for p in batch])
        for point in batch:
            known_steps.setdefault(point.key, set()).add(point.step)
    return len(new_points)


class MetricWriter:
    """The queue and the thread of one run.

    While the store does not answer, points wait here and are sent again later; first the store is asked which it
    has, as a failed attempt may have arrived. System metrics of that time are dropped.
    """

    def __init__(self, client: "MlflowClient", run_id: str, *, reopened: bool) -> None:
        self.problem: Exception | None = None
        self._client = client
        self._run_id = run_id
        self._known: KnownSteps = {}
        self._must_fetch_steps = reopened  # whether the store may hold points that are not in `_known`
        self._pending: list[MetricPoint] = []
        self._retry_at = 0.0
        self._queue: queue.SimpleQueue[list[MetricPoint] | Callable[[], None]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._send_until_closed, daemon=True, name="attncli-mlflow")
        self._thread.start()

    def put_points(self, points: list[MetricPoint]) -> None:
        """Queue points."""
        self._queue.put(points)

    def close(self, last_action: Callable[[], None], timeout: float) -> bool:
        """Send what is queued, call `last_action` in the thread; return whether that was done in `timeout` seconds."""
        self._queue.put(last_action)
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _send_until_closed(self) -> None:
        while isinstance(item := self._queue.get(), list):
            self._pending += item
            if self._queue.empty() and time.monotonic() >= self._retry_at:
                self._try_action(self._flush_pending)
        self._try_action(self._flush_pending)
        if self.problem is None:
            self._try_action(item)

    def _try_action(self, action: Callable[[], None]) -> None:
        """Call the action; keep a failure for the end of the run, forget an earlier one after a success."""
        try:
            action()
            self.problem = None
        except Exception as error:  # no failure of the store may stop the training
            self.problem = error
            self._must_fetch_steps = True
            self._known.clear()
            self._retry_at = time.monotonic() + RETRY_S
            self._pending = [p for p in self._pending if not p.key.startswith(SYSTEM_PREFIX)]

    def _flush_pending(self) -> None:
        if self._must_fetch_steps:
            keys = {p.key for p in self._pending if not p.key.startswith(SYSTEM_PREFIX)} - self._known.keys()
            self._known |= fetch_known_steps(self._client, self._run_id, keys)
        send_points(self._client, self._run_id, self._pending, self._known)
        self._pending = []
