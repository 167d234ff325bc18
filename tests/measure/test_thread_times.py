"""The time of a step with several numbers of threads."""

import time

import pytest
import torch

from attncli.measure import thread_times


def test_steps_are_timed_with_so_many_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """The median counts, without the first step of each; after a step that is too slow, fewer threads are not tried."""
    monkeypatch.setattr(thread_times, "TIMED_S", 0.05)
    used: list[int] = []

    def step() -> None:
        used.append(torch.get_num_threads())
        time.sleep(0.02 * used[-1] if used.count(used[-1]) > 1 else 0.3)

    before = torch.get_num_threads()
    try:
        seconds = thread_times.time_by_threads(step, [2, 1])
        monkeypatch.setattr(thread_times, "MOST_STEP_S", 0.03)
        assert list(thread_times.time_by_threads(step, [2, 1])) == [2]
    finally:
        torch.set_num_threads(before)
    assert list(seconds) == [2, 1]
    assert 0.04 <= seconds[2] < 0.2
    assert 0.02 <= seconds[1] < 0.2
