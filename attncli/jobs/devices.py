"""What each job gets of the machine: its share of the cores, a GPU of its own where there are GPUs. No torch."""

import os
import subprocess
from functools import cache

import psutil


def cores() -> int:
    """Physical cores that this process may use, at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, psutil.cpu_count(logical=False) or allowed))


def threads(jobs: int) -> int:
    """Threads of each of `jobs` jobs: an equal share of the cores, and no more than OMP_NUM_THREADS allows."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, min(cores() // jobs, int(asked) if asked.isdigit() and int(asked) else cores()))


@cache
def gpus() -> tuple[str, ...]:
    """The GPUs as CUDA_VISIBLE_DEVICES names them: those it allows, else those that the driver lists."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return tuple(g.strip() for g in chosen.split(",") if g.strip() and g.strip() != "-1")
    try:
        asked = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
        told = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(told.split())


def default_jobs() -> int:
    """Jobs at a time where nobody says: one a GPU, else one."""
    return max(1, len(gpus()))


def environment(number: int, jobs: int) -> dict[str, str]:
    """The environment of job `number` (from 0) of `jobs`. One job alone keeps all that a single run would have."""
    found = dict(os.environ)
    if jobs > 1:
        found |= {name: str(threads(jobs)) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    if jobs > 1 and gpus():
        found["CUDA_VISIBLE_DEVICES"] = gpus()[number % len(gpus())]
    return found
