"""The wish to stop a sweep: Ctrl-C, SIGTERM (a cluster that wants its machine back), or a first failure."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

IMPATIENT_S = 1.0  # a launcher may pass the same Ctrl-C on a second time within this


@dataclass
class StopRequest:
    """`reason` says why to stop, `at_once` that it was asked for twice: then nothing is waited for."""

    reason: str = ""
    at_once: bool = False
    first_signal_at: float = 0.0  # clock of the first signal

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Note a signal (this is the handler)."""
        now = time.monotonic()
        self.first_signal_at = self.first_signal_at or now
        self.at_once = now - self.first_signal_at > IMPATIENT_S
        self.reason = self.reason or f"stopped by {signal.Signals(number).name}"


@contextmanager
def sweep_stop_request() -> Iterator[StopRequest]:
    """A Stop that SIGINT and SIGTERM set within the block; outside the main thread nothing sets it."""
    stop = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    previous_handlers: dict[int, Any] = {
        number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield stop
    finally:
        for number, handler in previous_handlers.items():
            signal.signal(number, handler)
