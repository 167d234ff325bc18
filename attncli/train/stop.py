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

    common = True

    def __init__(self, problem: str, hint: str = "") -> None:
        super().__init__(problem, hint, code=130)


class Stop:
    """A wish to stop, set by a signal; a second Ctrl-C raises KeyboardInterrupt at once."""

    def __init__(self) -> None:
        self.signal: str | None = None
        self._since = 0.0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Note the signal (this is the handler)."""
        now = time.monotonic()
        if self.signal is None:
            self.signal, self._since = signal.Signals(number).name, now
        elif number == signal.SIGINT and now - self._since > IMPATIENT_S:
            raise KeyboardInterrupt

    @property
    def asked(self) -> bool:
        """Whether a signal came."""
        return self.signal is not None


@contextmanager
def stopping() -> Iterator[Stop]:
    """A Stop that SIGINT and SIGTERM set within the block; outside the main thread nothing sets it."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before: dict[int, Any] = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
