"""The share of the machine that each job gets: cores, and one GPU if there are GPUs. No torch."""

import os
from functools import cache

from attncli.system import hardware


def threads_per_job(jobs: int) -> int:
    """Return the threads per job: an equal share of the cores, at most OMP_NUM_THREADS."""
    cores, omp_threads = hardware.count_cores(), os.environ.get("OMP_NUM_THREADS", "")
    most_threads = int(omp_threads) if omp_threads.isdecimal() and int(omp_threads) else cores
    return max(1, min(cores // jobs, most_threads))


@cache
def list_gpus() -> tuple[str, ...]:
    """Return the GPUs as CUDA_VISIBLE_DEVICES names them: those it allows, else those that the driver lists."""
    visible_gpus = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible_gpus is not None:
        return tuple(g.strip() for g in visible_gpus.split(",") if g.strip() and g.strip() != "-1")
    return hardware.query_gpus("index")


def choose_job_count() -> int:
    """Return the default number of jobs at a time: one per GPU, else one."""
    return max(1, len(list_gpus()))


def build_job_environment(number: int, jobs: int) -> dict[str, str]:
    """Return the environment of job `number` (from 0) of `jobs`. A single job keeps the whole machine."""
    variables = dict(os.environ)
    if jobs > 1:
        variables |= {name: str(threads_per_job(jobs)) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    if jobs > 1 and list_gpus():
        variables["CUDA_VISIBLE_DEVICES"] = list_gpus()[number % len(list_gpus())]
    return variables
