"""Ctrl-C and SIGTERM: finish the step, save, and end with the truth about it."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from attncli.errors import UserError

IMPATIENT_S = 1.0  # a launcher may pass the same Ctrl-C on a second time within this


class Interrupted(UserError):  # noqa: N818 - a wish fulfilled, not an error
    """Training was asked to stop and did, with a checkpoint where there is a folder for it (exit code 130)."""

    on_all_ranks = True

    def __init__(self, problem: str, hint: str = "") -> None:
        super().__init__(problem, hint, code=130)


class StopSignal:
    """A wish to stop, set by a signal; a second Ctrl-C raises KeyboardInterrupt at once."""

    def __init__(self) -> None:
        self.signal_name: str | None = None
        self._first_signal_at = 0.0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Note the signal (this is the handler)."""
        now = time.monotonic()
        if self.signal_name is None:
            self.signal_name, self._first_signal_at = signal.Signals(number).name, now
        elif number == signal.SIGINT and now - self._first_signal_at > IMPATIENT_S:
            raise KeyboardInterrupt

    @property
    def is_set(self) -> bool:
        """Whether a signal came."""
        return self.signal_name is not None


@contextmanager
def training_stop_signal() -> Iterator[StopSignal]:
    """A Stop that SIGINT and SIGTERM set within the block; outside the main thread nothing sets it."""
    stop = StopSignal()
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
