"""Signals put off while something must not be left half done."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

IMPATIENT_S = 1.0  # a launcher may pass the same Ctrl-C on a second time within this


@contextmanager
def held() -> Iterator[None]:
    """Let SIGINT and SIGTERM that come within the block take effect after it; outside the main thread it does nothing.

    A second Ctrl-C, more than a second after the first, is heard at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[tuple[int, float]] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append((number, time.monotonic()))
        if number == signal.SIGINT and came[-1][1] - came[0][1] > IMPATIENT_S:
            raise KeyboardInterrupt

    before: dict[int, Any] = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        signal.raise_signal(came[0][0])
