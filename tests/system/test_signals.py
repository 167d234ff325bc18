"""Signals put off."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from attncli.errors import LAUNCHER_FOLDER_VARIABLE
from attncli.jobs.events import make_exit_message
from attncli.system.signals import deferred_signals, name_signal


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
        with deferred_signals():
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
        with deferred_signals():
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
        with deferred_signals():
            os.kill(os.getpid(), signal.SIGTERM)
            raise ValueError("full")

    with pytest.raises(ValueError, match="full"):
        work()


def test_other_threads_are_left_alone() -> None:
    """Python takes handlers in the main thread only."""
    before = signal.getsignal(signal.SIGTERM)
    found = []

    def inside() -> None:
        with deferred_signals():
            found.append(signal.getsignal(signal.SIGTERM) is before)

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert found == [True]


CHILD = """
import os, time
from attncli.system.signals import end_with_launcher
end_with_launcher()
print(os.getpid(), flush=True)
time.sleep(600)
"""
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {CHILD!r}])"


@pytest.mark.parametrize("launched", [True, False])
def test_a_process_ends_with_its_launcher(launched: bool) -> None:
    """Its parent killed, a process of torch's launcher ends; one that a user began goes on."""
    plain = {k: v for k, v in os.environ.items() if k != "TORCHELASTIC_RUN_ID"}
    environment = plain | ({"TORCHELASTIC_RUN_ID": "x"} if launched else {})
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, env=environment)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    try:
        child.wait(300 if launched else 2)
        assert launched
    except psutil.TimeoutExpired:
        assert not launched
    finally:
        if child.is_running():
            child.kill()
        parent.communicate()


STUCK = """
import time
from attncli.system import signals
signals.LOST_RANK_S, signals.POLL_S = 0.1, 0.1
signals.end_with_launcher()
print("ready", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize(("rank", "common", "ends"), [(0, False, True), (0, True, False), (1, False, False)])
def test_a_process_ends_after_another_has_failed(rank: int, common: bool, ends: bool, tmp_path: Path) -> None:
    """Process 1 waits where it hears no signal: an error of process 0 alone ends it, one of all or its own does not."""
    environment = {**os.environ, "TORCHELASTIC_RUN_ID": "x", "RANK": "1", LAUNCHER_FOLDER_VARIABLE: str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", STUCK], stdout=subprocess.PIPE, text=True, env=environment) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            (tmp_path / "000000.json").write_text("{")  # of a process that is writing it
            time.sleep(0.5)
            assert child.poll() is None
            (tmp_path / "000000.json").write_text(json.dumps({"rank": rank, "common": common}))
            assert child.wait(60 if ends else 2) == 1
            assert ends
        except subprocess.TimeoutExpired:
            assert not ends
        finally:
            child.kill()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no signals that end a process")
def test_a_signal_without_a_name() -> None:
    """Real-time signals have numbers only; a worker that one of them ended must not end the sweep too."""
    assert name_signal(signal.SIGTERM) == "SIGTERM"
    assert name_signal(signal.SIGRTMIN + 1) == f"signal {signal.SIGRTMIN + 1}"
    message = make_exit_message(-(signal.SIGRTMIN + 1), "", stop_requested=False)
    assert message["problem"] == f"its process was killed by signal {signal.SIGRTMIN + 1}"
