"""SIGINT and SIGTERM: stop a training after its step, stop a sweep, wait until a file is whole, end with the parent."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from attncli.errors import has_other_rank_failed
from attncli.system.process_groups import interrupt_self

IMPATIENT_S = 1.0  # a launcher may pass the same Ctrl-C on a second time within this
PATIENT_S = 150.0  # to save and end after a SIGTERM
LOST_RANK_S = 10.0  # to end by itself after another process of the run has failed
POLL_S = 1.0
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

SignalHandler = Callable[[int, FrameType | None], None]


def name_signal(number: int) -> str:
    """Return the name of a signal, such as SIGKILL; most real-time signals have none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


@contextmanager
def handled_signals(handler: SignalHandler, numbers: tuple[int, ...] = STOP_SIGNALS) -> Iterator[bool]:
    """Send the signals to `handler` within the block, then restore the handlers that were there before.

    Yields whether this is so: outside of the main thread Python cannot set handlers, and the block runs without.
    """
    if threading.current_thread() is not threading.main_thread():
        yield False
        return
    previous_handlers: dict[int, Any] = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield True
    finally:
        for number, previous in previous_handlers.items():
            signal.signal(number, previous)


class StopSignal:
    """A request to stop a training, set by a signal. A second Ctrl-C raises KeyboardInterrupt at once."""

    def __init__(self) -> None:
        self.signal_name: str | None = None
        self._first_signal_at = 0.0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Record the signal (this is the handler)."""
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
    """Yield a StopSignal that SIGINT and SIGTERM set within the block; outside of the main thread nothing sets it."""
    stop = StopSignal()
    with handled_signals(stop):
        yield stop


@dataclass
class StopRequest:
    """A request to stop a sweep: by a signal, or after a first failure.

    `reason` says why, `is_signal` whether that was a signal. `at_once` says that it was asked for twice: then the sweep
    waits for nothing.
    """

    reason: str = ""
    is_signal: bool = False
    at_once: bool = False
    first_signal_at: float = 0.0  # time.monotonic() of the first signal

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Record a signal (this is the handler)."""
        now = time.monotonic()
        self.first_signal_at = self.first_signal_at or now
        self.at_once = now - self.first_signal_at > IMPATIENT_S
        if not self.reason:
            self.reason, self.is_signal = f"stopped by {signal.Signals(number).name}", True


@contextmanager
def sweep_stop_request() -> Iterator[StopRequest]:
    """Yield a StopRequest that SIGINT and SIGTERM set within the block; outside of the main thread nothing sets it."""
    stop = StopRequest()
    with handled_signals(stop):
        yield stop


@contextmanager
def deferred_signals() -> Iterator[None]:
    """Let SIGINT and SIGTERM that come within the block take effect after it, so that nothing is left half written.

    A second Ctrl-C, more than a second after the first, takes effect at once.
    """
    received: list[tuple[int, float]] = []

    def defer_signal(number: int, frame: FrameType | None) -> None:
        received.append((number, time.monotonic()))
        if number == signal.SIGINT and received[-1][1] - received[0][1] > IMPATIENT_S:
            raise KeyboardInterrupt

    with handled_signals(defer_signal):
        yield
    if received:
        signal.raise_signal(received[0][0])


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does: servers are stopped, runs closed as KILLED."""

    def raise_interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    with handled_signals(raise_interrupt, (signal.SIGTERM,)):
        yield


def end_with_launcher() -> None:
    """End this process, one of several of a run, when its parent, torch's launcher, or another process fails.

    A launcher that was killed cannot end its processes, and they would go on training with nobody to report to:
    SIGTERM, then at once. After an error of another process this one learns of it in the exchange and ends by itself;
    if it waits in NCCL, which hears no signal, it is ended after `LOST_RANK_S`. torch's launcher would take 30 seconds.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        threading.Thread(target=_exit_with_run, args=(os.getppid(),), daemon=True).start()


def _exit_with_run(parent: int) -> None:
    while os.getppid() == parent:
        if has_other_rank_failed():
            time.sleep(LOST_RANK_S)
            os._exit(1)
        time.sleep(POLL_S)
    interrupt_self()
    time.sleep(PATIENT_S)
    os._exit(128 + 9)  # as after SIGKILL, which Windows lacks
