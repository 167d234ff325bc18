"""The limit of CPU time of a container or job, which its number of processors does not show."""

from pathlib import Path

import pytest

from attncli.system import hardware
from attncli.system.control_groups import read_cpu_limit


def write_unified(folder: Path, text: str) -> None:
    """A control group of version 2."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cpu.max").write_text(f"{text}\n")


def write_former(folder: Path, quota: int) -> None:
    """A control group of version 1, with the usual period of 0.1 s."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (folder / "cpu.cfs_period_us").write_text("100000\n")


@pytest.mark.parametrize(
    ("text", "limit"), [("200000 100000", 2), ("250000 100000", 3), ("50000 100000", 1), ("max 100000", None)]
)
def test_a_share_of_a_processor_counts_as_one(text: str, limit: int | None, tmp_path: Path) -> None:
    """`docker run --cpus 2.5` lets three threads work."""
    write_unified(tmp_path, text)
    (tmp_path / "own").write_text("0::/docker/0123\n")  # the path of the host, which is not seen here
    assert read_cpu_limit(tmp_path, tmp_path / "own") == limit


def test_the_least_limit_above_the_process_counts(tmp_path: Path) -> None:
    """In both versions, which a system may have side by side; -1 is no limit."""
    (tmp_path / "own").write_text("4:memory:/m\n3:cpu,cpuacct:/slurm/job_7\n0::/user/app\n")
    assert read_cpu_limit(tmp_path, tmp_path / "own") is None
    write_former(tmp_path / "cpu/slurm/job_7", -1)
    assert read_cpu_limit(tmp_path, tmp_path / "own") is None
    write_former(tmp_path / "cpu/slurm", 600_000)
    write_unified(tmp_path / "user", "700000 100000")
    assert read_cpu_limit(tmp_path, tmp_path / "own") == 6
    write_unified(tmp_path / "user/app", "400000 100000")
    assert read_cpu_limit(tmp_path, tmp_path / "own") == 4
    assert read_cpu_limit(tmp_path, tmp_path / "none") is None


def test_processors_beyond_the_limit_are_not_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a limit those that are seen count."""
    monkeypatch.setattr(hardware.os, "sched_getaffinity", lambda pid: set(range(12)), raising=False)
    for limit, usable in ((2, 2), (64, 12), (None, 12)):
        monkeypatch.setattr(hardware, "read_cpu_limit", lambda limit=limit: limit)
        assert hardware.count_usable_cpus() == usable
