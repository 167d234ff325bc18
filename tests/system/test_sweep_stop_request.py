"""Wishes to stop."""

import os
import signal
import threading

import pytest

from attncli.system import signals
from attncli.system.signals import StopRequest, sweep_stop_request


def test_signals_are_noted_and_handlers_given_back() -> None:
    """SIGINT and SIGTERM set the reason instead of ending anything; afterwards all is as it was."""
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    for number, name in ((signal.SIGINT, "SIGINT"), (signal.SIGTERM, "SIGTERM")):
        with sweep_stop_request() as stop:
            assert not stop.reason
            os.kill(os.getpid(), number)
            assert (stop.reason, stop.is_signal) == (f"stopped by {name}", True)
            assert not stop.at_once
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_second_signal_is_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """But not one that a launcher passes on twice."""
    now = [50.0]
    monkeypatch.setattr(signals.time, "monotonic", lambda: now[0])
    stop = StopRequest()
    stop(signal.SIGINT, None)
    now[0] += 0.5
    stop(signal.SIGINT, None)
    assert not stop.at_once
    now[0] += 1
    stop(signal.SIGTERM, None)
    assert stop.at_once
    assert stop.reason == "stopped by SIGINT"


def test_a_signal_after_a_failure_is_no_hurry() -> None:
    """A sweep that stops for its first failure is not killed by the first Ctrl-C."""
    stop = StopRequest(reason="stopped by the failure of x")
    stop(signal.SIGINT, None)
    assert not stop.at_once


def test_other_threads_set_no_handlers() -> None:
    """Python takes signal handlers in the main thread alone."""
    found: list[bool] = []

    def inside() -> None:
        with sweep_stop_request() as stop:
            found.append(stop.reason == "" and signal.getsignal(signal.SIGTERM) is not stop)

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert found == [True]
