"""The machine shared out among jobs."""

import subprocess

import pytest

from attncli.jobs import resources
from attncli.system import hardware


@pytest.fixture(autouse=True)
def _four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "count_cores", lambda: 4)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    resources.list_gpus.cache_clear()
    yield
    resources.list_gpus.cache_clear()


@pytest.mark.parametrize(("jobs", "threads"), [(1, 4), (2, 2), (3, 1), (9, 1)])
def test_cores_are_divided(jobs: int, threads: int) -> None:
    """Each job has an equal share, at least one thread."""
    assert resources.threads_per_job(jobs) == threads
    shared = resources.build_job_environment(0, jobs)
    assert shared.get("OMP_NUM_THREADS") == (None if jobs == 1 else str(threads))


@pytest.mark.parametrize(("asked", "threads"), [("1", 1), ("3", 2), ("", 2), ("all", 2), ("0", 2)])
def test_fewer_threads_may_be_asked_for(monkeypatch: pytest.MonkeyPatch, asked: str, threads: int) -> None:
    """OMP_NUM_THREADS lowers a job's share and never raises it; what is no number is no wish."""
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert resources.threads_per_job(2) == threads


def test_each_job_has_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other, by the names that the user gave; more jobs than GPUs share them."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, 5")
    assert resources.choose_job_count() == 2
    assert [resources.build_job_environment(n, 3)["CUDA_VISIBLE_DEVICES"] for n in range(3)] == ["3", "5", "3"]
    assert resources.build_job_environment(0, 1)["CUDA_VISIBLE_DEVICES"] == "3, 5"


@pytest.mark.parametrize("given", ["", "-1"])
def test_no_gpu_where_none_is_allowed(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    """An empty list hides the GPUs there are."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert resources.list_gpus() == ()
    assert resources.choose_job_count() == 1
    assert resources.build_job_environment(1, 2)["CUDA_VISIBLE_DEVICES"] == given


def test_the_driver_is_asked_where_nobody_chose(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its list counts; a machine without a driver has none."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: subprocess.CompletedProcess(a, 0, stdout="0\n1\n"))
    assert resources.list_gpus() == ("0", "1")

    def missing(*a: object, **k: object) -> None:
        raise FileNotFoundError

    resources.list_gpus.cache_clear()
    monkeypatch.setattr(subprocess, "run", missing)
    assert resources.list_gpus() == ()
