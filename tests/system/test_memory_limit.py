"""The memory that a process may take ends at the limits of its containers and jobs."""

from pathlib import Path

import pytest

from attncli.system import memory_limit

NO_LIMIT = 9223372036854771712  # of control groups of version 1


def write_group(folder: Path, names: tuple[str, str, str], limit: int | str, used: int, cached: int) -> None:
    """A control group's files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in zip(names[:2], (limit, used), strict=True):
        (folder / name).write_text(f"{value}\n")
    (folder / "memory.stat").write_text(f"anon 1\n{names[2]} {cached}\n")


@pytest.mark.parametrize(
    ("names", "line", "root", "no_limit"),
    [
        (memory_limit.UNIFIED_FILES, "0::/slurm/job_7/step", "", "max"),
        (memory_limit.FORMER_FILES, "4:cpu,memory:/slurm/job_7/step", "memory", NO_LIMIT),
    ],
)
def test_the_limit_of_an_outer_group_counts(
    tmp_path: Path, names: tuple[str, str, str], line: str, root: str, no_limit: int | str
) -> None:
    """A job's limit holds in its steps, which have none; cached files give way."""
    write_group(tmp_path / root / "slurm/job_7", names, 1000, 600, 100)
    write_group(tmp_path / root / "slurm/job_7/step", names, no_limit, 600, 100)
    (tmp_path / "own").write_text(f"1:name=systemd:/other\n{line}\n")
    assert min(memory_limit.list_group_rooms(tmp_path, tmp_path / "own")) == 500


def test_a_group_of_the_host_that_is_not_seen_here(tmp_path: Path) -> None:
    """Within a container the path may be the host's: then the limit stands at the top."""
    write_group(tmp_path, memory_limit.UNIFIED_FILES, 1000, 400, 0)
    (tmp_path / "own").write_text("0::/docker/0123\n")
    assert memory_limit.list_group_rooms(tmp_path, tmp_path / "own") == [600]
    assert memory_limit.list_group_rooms(tmp_path, tmp_path / "none") == []


def test_a_limit_of_addresses_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """With `ulimit -v` no more than its rest is free."""
    resource = pytest.importorskip("resource")
    import psutil

    limit = psutil.Process().memory_info().vms + 10_000_000
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, resource.RLIM_INFINITY))
    assert memory_limit.read_free_memory() <= 10_000_000
