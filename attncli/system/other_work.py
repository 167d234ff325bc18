"""How many cores other programs keep busy while something is timed here."""

import os
import time
from dataclasses import dataclass

BUSY_TIMES = ("user", "nice", "system", "irq", "softirq", "steal")  # of psutil; `user` includes guests
QUIET_CORES = 0.1  # what a desktop does by itself


@dataclass(frozen=True)
class CpuReading:
    """CPU seconds that all other processes have used since the machine started, and the time of the reading."""

    other_seconds: float
    seconds: float


def read_cpu_use() -> CpuReading:
    """Return what other processes have used so far; this process and its ended children are left out."""
    import psutil  # here, as most commands do not need it

    all_times = psutil.cpu_times()
    own = os.times()
    own_seconds = own.user + own.system + own.children_user + own.children_system
    busy_seconds = sum(getattr(all_times, name, 0.0) for name in BUSY_TIMES)
    return CpuReading(busy_seconds - own_seconds, time.monotonic())


def count_cores_used_by_others(start: CpuReading, least_seconds: float = 0.0) -> float:
    """Return how many cores other processes have kept busy on average since `start`, at least 0.

    Time that a virtual machine's host gave to other guests counts too. If `start` was less than `least_seconds` ago,
    that says little, and the answer is 0.
    """
    now = read_cpu_use()
    if now.seconds - start.seconds < least_seconds:
        return 0.0
    return max(0.0, (now.other_seconds - start.other_seconds) / max(now.seconds - start.seconds, 1e-9))
