"""Signals put off while something must not be left half done."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

IMPATIENT_S = 1.0  # a launcher may pass the same Ctrl-C on a second time within this
PATIENT_S = 150.0  # to save and end after a SIGTERM
LOOK_S = 1.0


def end_with_launcher() -> None:
    """Let this process, one of several of a run, end when torch's launcher, its parent, is gone: SIGTERM, then SIGKILL.

    A launcher that is killed cannot end its processes, and they would train on with nobody to tell of it.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        threading.Thread(target=_exit_with_parent, args=(os.getppid(),), daemon=True).start()


def _exit_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_S)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(PATIENT_S)
    os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def deferred_signals() -> Iterator[None]:
    """Let SIGINT and SIGTERM that come within the block take effect after it; outside the main thread it does nothing.

    A second Ctrl-C, more than a second after the first, is heard at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[tuple[int, float]] = []

    def defer_signal(number: int, frame: FrameType | None) -> None:
        received.append((number, time.monotonic()))
        if number == signal.SIGINT and received[-1][1] - received[0][1] > IMPATIENT_S:
            raise KeyboardInterrupt

    previous_handlers: dict[int, Any] = {
        number: signal.signal(number, defer_signal) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in previous_handlers.items():
            signal.signal(number, handler)
    if received:
        signal.raise_signal(received[0][0])
