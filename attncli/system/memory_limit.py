"""How much memory this process may still take: what is free, within the limits of its container or job."""

import os
from pathlib import Path

from attncli.errors import UserError
from attncli.system.control_groups import CGROUPS, OWN_GROUPS, list_group_folders

PROCESS_BYTES = 300_000_000  # of a process with torch loaded that it shares with no other
UNIFIED_FILES = ("memory.max", "memory.current", "inactive_file")  # limit, use, and cached files in memory.stat
FORMER_FILES = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")  # of version 1


def read_free_memory() -> int:
    """Return the bytes of memory that this process may still take.

    Least of: what is free; the limits of its control groups (containers, Slurm's jobs, systemd); `ulimit -v`.
    """
    import psutil  # here, as most commands do not need it

    rooms = [int(psutil.virtual_memory().available), *list_group_rooms(), *_list_address_rooms()]
    return max(0, min(rooms))


def check_process_memory(option: str, processes: int) -> None:
    """Raise UserError if so many processes with torch do not fit into the free memory, before they have any images."""
    free_bytes = read_free_memory()
    if processes * PROCESS_BYTES > free_bytes:
        raise UserError(
            f"{option} {processes}: each takes {PROCESS_BYTES / 1e6:.0f} MB of memory before it has any images, "
            f"and {free_bytes / 1e9:.1f} GB are free",
            f"use at most {max(1, free_bytes // PROCESS_BYTES)}; more than one for each core or GPU is slower",
        )


def list_group_rooms(groups: Path = CGROUPS, own_groups: Path = OWN_GROUPS) -> list[int]:
    """Return the bytes that each control group of this process with a limit leaves, of both versions of Linux."""
    rooms: dict[Path, int] = {}
    for folder, is_former in list_group_folders("memory", groups, own_groups):
        if (room := _read_group_room(folder, *(FORMER_FILES if is_former else UNIFIED_FILES))) is not None:
            rooms[folder] = room
    return list(rooms.values())


def _read_group_room(folder: Path, limit_file: str, use_file: str, cached_key: str) -> int | None:
    """Return the bytes that a control group leaves, or None if it has no limit or does not exist."""
    try:
        limit = int((folder / limit_file).read_text())
        used = int((folder / use_file).read_text())
        statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        used -= int(statistics.get(cached_key, 0))  # cached files, which give way
    except (OSError, ValueError):  # `max`: no limit
        return None
    return limit - used


def _list_address_rooms() -> list[int]:
    """Return the bytes that `ulimit -v` leaves, if it is set."""
    try:
        import resource
    except ImportError:  # Windows
        return []
    import psutil

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return []
    return [limit - psutil.Process(os.getpid()).memory_info().vms]
