"""The work of other programs while something is timed."""

from types import SimpleNamespace

import psutil
import pytest

from attncli.system import other_work
from attncli.system.other_work import count_cores_used_by_others, read_cpu_use


def test_own_work_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """In 10 s the machine worked for 14 s, 3.5 s of it in this process and its children; idle and waiting count not."""
    machine = SimpleNamespace(user=100.0, nice=1.0, system=10.0, steal=0.0, idle=50.0, iowait=5.0, guest=70.0)
    own = SimpleNamespace(user=20.0, system=2.0, children_user=1.0, children_system=0.0)
    monkeypatch.setattr(psutil, "cpu_times", lambda: machine)
    monkeypatch.setattr(other_work.os, "times", lambda: own)
    monkeypatch.setattr(other_work.time, "monotonic", lambda: 5.0)
    start = read_cpu_use()
    vars(machine).update(user=108.0, nice=2.0, system=12.0, steal=3.0, idle=56.0, iowait=25.0, guest=90.0)
    vars(own).update(user=21.0, system=2.5, children_user=2.5, children_system=0.5)
    monkeypatch.setattr(other_work.time, "monotonic", lambda: 15.0)
    assert count_cores_used_by_others(start) == pytest.approx(1.05)


def test_coarse_clocks_give_no_negative_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system counts CPU time in steps of 10 ms, and this process more finely."""
    monkeypatch.setattr(psutil, "cpu_times", lambda: SimpleNamespace(user=1.0, system=1.0))
    start = read_cpu_use()
    times = SimpleNamespace(user=1e6, system=0.0, children_user=0.0, children_system=0.0)
    monkeypatch.setattr(other_work.os, "times", lambda: times)
    assert count_cores_used_by_others(start) == 0


def test_a_short_reading_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """In 0.2 s the clock of the system ticks too seldom; after 0.6 s the work counts."""
    times = SimpleNamespace(user=1.0, system=0.0, children_user=0.0, children_system=0.0)
    machine = SimpleNamespace(user=1.0)
    monkeypatch.setattr(psutil, "cpu_times", lambda: machine)
    monkeypatch.setattr(other_work.os, "times", lambda: times)
    monkeypatch.setattr(other_work.time, "monotonic", lambda: 5.0)
    start = read_cpu_use()
    machine.user = 1.6
    answers = []
    for now in (5.2, 5.6):
        monkeypatch.setattr(other_work.time, "monotonic", lambda now=now: now)
        answers.append(count_cores_used_by_others(start, least_seconds=0.5))
    assert answers == [0.0, pytest.approx(1.0)]
