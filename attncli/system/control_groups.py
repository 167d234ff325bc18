"""The control groups of this process, of containers, Slurm's jobs and systemd, in both versions of Linux."""

import math
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")


def list_group_folders(
    controller: str, groups: Path = CGROUPS, own_groups: Path = OWN_GROUPS
) -> Iterator[tuple[Path, bool]]:
    """Yield the folder of each control group that this process is in for a controller, such as `memory`, inner first.

    With each comes whether it is of version 1. None on other systems.
    """
    try:
        lines = own_groups.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # another system
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = groups / controller if controllers else groups
        group = root / path.lstrip("/")
        for folder in (group, *group.parents):
            if folder.is_relative_to(root):
                yield folder, bool(controllers)


def read_cpu_limit(groups: Path = CGROUPS, own_groups: Path = OWN_GROUPS) -> int | None:
    """Return how many processors' time the control groups of this process have, rounded up; None without a limit.

    A container with such a limit (`docker run --cpus 2`) sees all processors: with more threads all of them wait.
    """
    folders = list_group_folders("cpu", groups, own_groups)
    limits = [_read_group_limit(folder, is_former) for folder, is_former in folders]
    return min((limit for limit in limits if limit is not None), default=None)


def _read_group_limit(folder: Path, is_former: bool) -> int | None:
    """Return the limit of one control group, or None if it has none or does not exist."""
    try:
        if is_former:
            texts = [(folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period")]
        else:
            texts = (folder / "cpu.max").read_text().split()
        quota, period = map(int, texts)
    except (OSError, ValueError):  # `max`: no limit
        return None
    return math.ceil(quota / period) if quota > 0 and period > 0 else None  # -1: no limit, in version 1
