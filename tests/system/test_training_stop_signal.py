"""Signals while training."""

import os
import signal
import threading

import pytest

from attncli.system import signals
from attncli.system.signals import training_stop_signal


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_noted_and_handlers_come_back(number):
    """Within the block a signal only sets the flag; after it the handlers are those from before."""
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with training_stop_signal() as stop:
        assert not stop.is_set
        os.kill(os.getpid(), number)
        assert stop.is_set
        assert stop.signal_name == signal.Signals(number).name
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_impatience(monkeypatch):
    """A second Ctrl-C ends at once, unless it comes so soon that it is the first, passed on by a launcher.

    A second SIGTERM does not: a scheduler may send several, and the checkpoint is being written.
    """
    with training_stop_signal() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.is_set
        monkeypatch.setattr(signals, "IMPATIENT_S", 0.0)
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_handlers_come_back_after_an_error():
    """An error in the block leaves no handler behind."""
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ZeroDivisionError), training_stop_signal():
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGINT) is before


def test_outside_the_main_thread():
    """Python takes handlers in the main thread only; elsewhere training goes on without them."""
    found = []

    def work():
        with training_stop_signal() as stop:
            found.append(stop.is_set)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False]
