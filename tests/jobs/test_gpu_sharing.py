"""Several runs on a GPU: how many, by what nvidia-smi says of the first."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from attncli.errors import UserError
from attncli.jobs import gpu_sharing
from attncli.jobs.executors import choose_executor
from attncli.jobs.gpu_sharing import SAMPLES, GpuWatch, choose_jobs_per_gpu
from attncli.jobs.worker_pool import WorkerSettings
from attncli.system import hardware
from attncli.system.hardware import GpuUse
from attncli.track import RunStore
from tests.commands.line import line, refused

GIB = 2**30


def use(busy: float, used: float = 2.0) -> GpuUse:
    """A GPU of 80 GiB."""
    return GpuUse(busy, int(used * GIB), 80 * GIB)


@pytest.mark.parametrize(
    ("samples", "cores", "gpus", "jobs", "word"),
    [
        ([use(0.15), use(0.15), use(0.9)], 32, 1, 6, "15%"),  # the median: one busy moment does not count
        ([use(0.6)], 32, 1, 1, "60%"),
        ([use(1.0)], 32, 1, 1, "100%"),
        ([use(0.1, used=30), use(0.1, used=10)], 32, 1, 2, "memory"),
        ([use(0.1)], 12, 4, 3, "12 cores"),
        ([use(0.0)], 64, 1, 8, "at most 8"),
        ([use(0.2)], 2, 4, 1, "2 cores"),
    ],
)
def test_the_scarcest_decides(samples: list[GpuUse], cores: int, gpus: int, jobs: int, word: str) -> None:
    """Time of the GPU, memory, cores, or the bound; there is always one run."""
    count, reason = choose_jobs_per_gpu(samples, cores, gpus)
    assert count == jobs
    assert word in reason


def watch_gpus(monkeypatch: pytest.MonkeyPatch, gpus: Sequence[str], uses: Sequence[GpuUse]) -> list[object]:
    """What a watch answers when it is asked once per second for half a minute."""
    now = [0.0]
    monkeypatch.setattr(gpu_sharing.resources, "list_gpus", lambda: tuple(gpus))
    monkeypatch.setattr(hardware, "read_gpu_use", lambda names: tuple(uses))
    monkeypatch.setattr(hardware, "count_cores", lambda: 32)
    watch, answers = GpuWatch(lambda: now[0]), []
    for _ in range(30):
        now[0] += 1.0
        answers.append(watch.look())
    return answers


def test_a_watch_decides_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """After five looks, two seconds apart; the number is that of all GPUs together."""
    answers = watch_gpus(monkeypatch, ["0", "1"], [use(0.2), use(0.4)])
    assert [i for i, answer in enumerate(answers) if answer] == [2 * SAMPLES - 1]
    assert answers[2 * SAMPLES - 1] == (6, "it computed 30% of the time")


@pytest.mark.parametrize(("gpus", "jobs"), [((), 1), (("MIG-1", "MIG-2"), 2)])
def test_without_figures_nothing_is_shared(monkeypatch: pytest.MonkeyPatch, gpus: tuple[str, ...], jobs: int) -> None:
    """No GPU, or one of which nvidia-smi says nothing: one run each, and why."""
    (answer,) = [answer for answer in watch_gpus(monkeypatch, gpus, []) if answer]
    assert answer[0] == jobs


@pytest.mark.parametrize(
    ("output", "uses"),
    [("35, 1024, 81920\n", (GpuUse(0.35, GIB, 80 * GIB),)), ("[N/A], 1024, 81920\n", ()), ("", ())],
)
def test_nvidia_smi_is_read(monkeypatch: pytest.MonkeyPatch, output: str, uses: tuple[GpuUse, ...]) -> None:
    """Percent and mebibytes; a figure that it does not have makes the answer empty."""
    words: list[str] = []
    monkeypatch.setattr(
        subprocess,
        "run",
        lambda given, **k: words.extend(given) or subprocess.CompletedProcess(given, 0, stdout=output),
    )
    assert hardware.read_gpu_use(["3"]) == uses
    assert "--id=3" in words


def test_auto_is_for_this_machine() -> None:
    """A cluster refuses it in a line; so does a word that is neither a number nor auto."""
    settings = WorkerSettings(RunStore(Path("runs")), "")
    with pytest.raises(UserError, match="--jobs auto with --on slurm"):
        choose_executor("slurm", settings, jobs="auto")
    refused(line("sweep", "channel", "--jobs", "many"), "many", "auto")
