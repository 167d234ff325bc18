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
    monkeypatch.setattr(hardware, "has_cuda_driver", lambda: True)
    _forget_gpus()
    yield
    _forget_gpus()


def _forget_gpus() -> None:
    for answer in (resources.list_gpus, resources.gpu_support.find_gpu_obstacle, hardware.list_gpu_names):
        getattr(answer, "cache_clear", lambda: None)()


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
    assert "CUDA_DEVICE_ORDER" not in resources.build_job_environment(0, 2), "the numbers are the user's"


@pytest.mark.parametrize(
    ("gpus", "names", "places"),
    [
        ("", (), 1),
        ("0,1,2,3,4,5", ("H100",) * 6, 4),  # as many as there are cores
        ("0,1,2", ("H100",) * 6, 3),
        ("0,1", ("H100", "A100"), 1),
        ("MIG-1,MIG-2", ("H100",), 1),
    ],
)
def test_equal_gpus_time_at_once(
    gpus: str, names: tuple[str, ...], places: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A speed is that of a kind of GPU; cards of several kinds, and parts of one, are not exchanged."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpus)
    monkeypatch.setattr(hardware, "list_gpu_names", lambda: names)
    assert resources.count_timing_places(8) == places
    assert resources.count_timing_places(1) == 1


@pytest.mark.parametrize(
    ("visible", "there", "gpus"),
    [
        ("0,1,2,3", ("0", "1"), ("0", "1")),  # a line copied from a larger machine
        ("1,0", ("0", "1"), ("1", "0")),
        ("0,-1,1", ("0", "1"), ("0",)),
        ("nonsense", ("0", "1"), ()),
        ("nonsense,0", (), ()),
        (" GPU-aa, MIG-bb ,", ("0",), ("GPU-aa", "MIG-bb")),
        ("1,1", ("0", "1"), ()),
        ("0,3", (), ("0", "3")),  # a container without nvidia-smi
    ],
)
def test_visible_gpus_are_those_that_cuda_sees(
    visible: str, there: tuple[str, ...], gpus: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list ends at the first name that no GPU has; without a driver there is none, so one run at a time."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr(hardware, "query_gpus", lambda column: there)
    assert resources.list_gpus() == gpus
    monkeypatch.setattr(hardware, "query_gpus", lambda column: ())
    monkeypatch.setattr(hardware, "has_cuda_driver", lambda: False)
    _forget_gpus()
    assert resources.list_gpus() == ()
    assert resources.choose_job_count() == 1


def test_parts_of_a_divided_gpu_are_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """MIG slices are given out by their identifiers; the list of cards does not have them."""
    parts = "".join(f"  MIG 3g.40gb Device  {n}: (UUID: MIG-{n}{n})\n" for n in (1, 2))
    listing = f"GPU 0: NVIDIA H100 (UUID: GPU-aa)\n{parts}"
    answers = {"-L": listing, "--query-gpu=name": "NVIDIA H100\n", "--query-gpu=index": "0\n"}
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(resources.gpu_support, "find_gpu_obstacle", lambda: None)
    monkeypatch.setattr(
        subprocess, "run", lambda words, **k: subprocess.CompletedProcess(words, 0, stdout=answers[words[1]])
    )
    assert resources.list_gpus() == ("MIG-11", "MIG-22")
    assert resources.build_job_environment(1, 2)["CUDA_VISIBLE_DEVICES"] == "MIG-22"


def test_gpus_that_are_not_used_start_no_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """If torch cannot use them, or the CPU or one of them is asked for, a sweep does one run at a time."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: subprocess.CompletedProcess(a, 0, stdout="0\n1\n"))
    for obstacle, requested in ((("driver too old", ""), ""), (None, "cpu"), (None, "cuda:1")):
        monkeypatch.setattr(resources.gpu_support, "find_gpu_obstacle", lambda obstacle=obstacle: obstacle)
        monkeypatch.setenv(resources.gpu_support.DEVICE_VARIABLE, requested)
        resources.list_gpus.cache_clear()
        assert resources.choose_job_count() == 1


def test_amd_gpus_have_their_own_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a torch for ROCm each job gets one of the GPUs that the kernel knows."""
    build = resources.gpu_support.TorchBuild("2.14.1", "", "6.4")
    monkeypatch.setattr(resources.gpu_support, "read_torch_build", lambda: build)
    monkeypatch.setattr(hardware, "count_amd_gpus", lambda: 2)
    monkeypatch.delenv("HIP_VISIBLE_DEVICES", raising=False)
    assert [resources.build_job_environment(n, 2)["HIP_VISIBLE_DEVICES"] for n in range(2)] == ["0", "1"]


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
    assert resources.build_job_environment(1, 2)["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"  # as nvidia-smi numbers them

    def missing(*a: object, **k: object) -> None:
        raise FileNotFoundError

    resources.list_gpus.cache_clear()
    monkeypatch.setattr(subprocess, "run", missing)
    assert resources.list_gpus() == ()


def test_timings_take_turns_on_each_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU has one lock, by whatever number a process sees it; the CPUs have one together."""
    monkeypatch.setattr(resources, "choose_visibility_variable", lambda: "CUDA_VISIBLE_DEVICES")
    names = []
    for visible, index in ((None, 1), ("1", 0), ("0, 1", 1), ("GPU-a/b", 0)):
        if visible is None:
            monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        else:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        names.append(resources.name_timing_lock("cuda", index))
    assert names == [*[".timing.1.lock"] * 3, ".timing.GPU-a_b.lock"]
    assert resources.name_timing_lock("cpu", 0) == ".timing.lock"
