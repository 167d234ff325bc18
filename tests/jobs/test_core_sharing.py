"""Several runs on the cores of a CPU: how many, by timed steps of the first."""

import json
import time
from pathlib import Path

import pytest

from attncli.jobs import core_sharing
from attncli.jobs.core_sharing import StepTimes, choose_jobs_by_timing, choose_jobs_per_cpu, list_job_counts
from attncli.recipe import Recipe
from attncli.system.signals import StopRequest

GB = 10**9
RECIPE = Recipe.model_validate({"model": {"backbone": "resnet20"}, "data": {"name": "digits"}})


@pytest.mark.parametrize(
    ("cores", "runs", "counts"),
    [(1, 9, (1,)), (2, 9, (1, 2)), (8, 9, (1, 2, 4, 8)), (6, 9, (1, 2, 4, 6)), (8, 3, (1, 2)), (8, 1, (1,))],
)
def test_numbers_of_jobs_to_choose_from(cores: int, runs: int, counts: tuple[int, ...]) -> None:
    """Powers of two below the number of cores, and one run per core; never more than there are runs."""
    assert list_job_counts(cores, runs) == counts


@pytest.mark.parametrize(
    ("seconds", "memory", "free", "jobs", "words"),
    [
        ({8: 1.0, 4: 1.0, 2: 1.0, 1: 1.0}, 1, 99, 8, "1 thread each they do about 8.0 x"),  # threads do not help
        ({8: 1.0, 4: 2.0, 2: 4.0, 1: 8.0}, 1, 99, 1, "less than 1.2 x"),  # threads help as they should
        ({8: 1.0, 4: 1.2, 2: 1.8, 1: 4.0}, 1, 99, 4, "2 threads each they do about 2.2 x"),
        ({8: 1.0, 4: 1.2, 2: 1.8, 1: 4.0}, 10, 30, 2, "4 threads each they do about 1.7 x"),  # 27 GB hold two
        ({8: 1.0, 4: 1.2, 2: 1.8, 1: 4.0}, 20, 30, 1, "a run takes 20.0 GB, and 30.0 GB are free"),
        ({8: 1.0, 4: 1.2, 2: 1.8, 1: 4.0}, 10, 21, 1, "a run takes 10.0 GB, and 21.0 GB are free"),  # 18.9 hold one
        ({8: 11.0}, 1, 99, 1, "less than 1.2 x"),  # too slow to be timed with fewer
        ({8: 1.0, 4: 1.7, 2: 3.4, 1: 6.8}, 1, 99, 1, "less than 1.2 x"),  # 1.18 is too little
    ],
)
def test_the_most_images_per_second_win(
    seconds: dict[int, float], memory: int, free: int, jobs: int, words: str
) -> None:
    """Of the numbers of runs that fit into the memory, if the gain is worth it."""
    chosen, reason = choose_jobs_per_cpu(StepTimes(seconds, memory * GB), {1: 8, 2: 4, 4: 2, 8: 1}, free * GB)
    assert chosen == jobs
    assert words in reason


def test_a_process_times_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It answers for the threads of each number of jobs, and with the memory of a process that has torch.

    One thread for each: on a busy core two would take seconds a step, and the test minutes.
    """
    monkeypatch.setattr(core_sharing.hardware, "count_cores", lambda: 2)
    monkeypatch.setattr(core_sharing.resources, "threads_per_job", lambda jobs: 1)
    seen: list[StepTimes] = []
    choose = core_sharing.choose_jobs_per_cpu
    monkeypatch.setattr(
        core_sharing, "choose_jobs_per_cpu", lambda times, *rest: seen.append(times) or choose(times, *rest)
    )
    assert (
        choose_jobs_by_timing(RECIPE, tmp_path, 5, StopRequest())[0] == 2
    )  # two with the same thread do twice as much
    assert seen[0].seconds[1] > 0
    assert seen[0].bytes > 100e6


@pytest.mark.parametrize(
    ("answer", "words"),
    [({"device": "mps"}, "train on mps"), ({}, "no steps could be timed")],
)
def test_without_times_there_is_one_run(
    answer: dict[str, str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On another device, or if the process failed; the run itself then tells why."""
    monkeypatch.setattr(core_sharing.hardware, "count_cores", lambda: 2)
    monkeypatch.setattr(core_sharing, "_ask_step_timer", lambda order, stop: answer)
    jobs, reason = choose_jobs_by_timing(RECIPE, tmp_path, 5, StopRequest())
    assert jobs == 1
    assert words in reason


def test_one_core_or_one_run_is_not_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing to choose."""
    monkeypatch.setattr(core_sharing, "_ask_step_timer", lambda order, stop: pytest.fail("timed"))
    for cores, runs, words in ((1, 5, "one core"), (4, 1, "one run")):
        monkeypatch.setattr(core_sharing.hardware, "count_cores", lambda cores=cores: cores)
        assert choose_jobs_by_timing(RECIPE, tmp_path, runs, StopRequest()) == (1, f"there is {words}")


def test_a_failed_or_stopped_process_answers_nothing(tmp_path: Path) -> None:
    """A recipe that cannot be built gives no times; a request to stop ends the process at once."""
    order = {"recipe": RECIPE.model_dump(mode="json"), "runs": str(tmp_path), "threads": [1]}
    broken = json.loads(json.dumps(order))
    broken["recipe"]["model"]["attn"] = "missing.py:Gate"
    assert core_sharing._ask_step_timer(broken, StopRequest()) == {}
    started = time.monotonic()
    assert core_sharing._ask_step_timer(order, StopRequest(reason="stopped by SIGINT")) == {}
    assert time.monotonic() - started < 2.0
