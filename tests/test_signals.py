"""Signals put off."""

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from attncli.signals import held


@pytest.fixture(autouse=True)
def _interrupting() -> Iterator[None]:
    """SIGTERM raises KeyboardInterrupt, as it does in a run."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_takes_effect_afterwards(number: int) -> None:
    """The block is done to its end, then the signal does what it would have done; handlers are as before."""
    done = []

    def work() -> None:
        with held():
            os.kill(os.getpid(), number)
            done.append(1)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == [1]
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), number)


def test_impatience_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second Ctrl-C ends the block, but not one that a launcher passes on twice; SIGTERM never does."""
    now = [5.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    done = []

    def work() -> None:
        with held():
            for step in (0.0, 0.5, 3.0):
                now[0] += step
                done.append(step)
                os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
            done.append(-1.0)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == [0.0, 0.5, 3.0]


def test_errors_come_through() -> None:
    """What goes wrong in the block matters more than a signal that waited for it."""

    def work() -> None:
        with held():
            os.kill(os.getpid(), signal.SIGTERM)
            raise ValueError("full")

    with pytest.raises(ValueError, match="full"):
        work()


def test_other_threads_are_left_alone() -> None:
    """Python takes handlers in the main thread only."""
    before = signal.getsignal(signal.SIGTERM)
    found = []

    def inside() -> None:
        with held():
            found.append(signal.getsignal(signal.SIGTERM) is before)

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert found == [True]
