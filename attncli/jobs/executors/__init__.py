"""The executors of a sweep: this machine, a Ray cluster, or Slurm."""

import math
import re
from collections.abc import Sequence
from typing import Any, Literal

from attncli.errors import UserError
from attncli.jobs import resources
from attncli.jobs.execute import Executor
from attncli.jobs.executors.local import make_local_executor
from attncli.jobs.worker_pool import WorkerSettings

SBATCH_TIME = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", re.ASCII)


def choose_executor(
    executor_name: str,
    settings: WorkerSettings,
    *,
    jobs: int | Literal["auto"] | None = None,
    cpus: int | None = None,
    gpus: float | None = None,
    slurm: Sequence[str] = (),
) -> tuple[Executor, int]:
    """Return (the executor, about how many runs it does at a time). `slurm` holds options of sbatch as `key=value`.

    `jobs="auto"` begins with one, or one per GPU; the executor says with `JobsChanged` how many there are then.

    Raises UserError for options that the executor does not have, or if it is not installed.
    """
    check_executor_options(executor_name, jobs=jobs, cpus=cpus, gpus=gpus, slurm=slurm)
    if executor_name == "local":
        first_jobs = resources.choose_job_count() if jobs in (None, "auto") else int(jobs)
        return make_local_executor(first_jobs, settings, shares_devices=jobs == "auto"), first_jobs
    assert jobs != "auto"  # for clusters `check_executor_options` refuses it
    if executor_name == "ray":
        from attncli.jobs.executors.ray import make_ray_executor

        return make_ray_executor(settings, jobs=jobs, cpus=cpus or 1, gpus=gpus), jobs or 1
    from attncli.jobs.executors.slurm import make_slurm_executor

    return make_slurm_executor(
        settings, jobs=jobs, cpus=cpus or 1, gpus=int(gpus or 0), options=parse_sbatch_options(slurm)
    ), jobs or 1


def check_executor_options(
    executor_name: str,
    *,
    jobs: int | Literal["auto"] | None = None,
    cpus: int | None = None,
    gpus: float | None = None,
    slurm: Sequence[str] = (),
) -> None:
    """Raise UserError for options that the executor does not have; it need not be installed."""
    if slurm and executor_name != "slurm":
        raise UserError("--slurm without --on slurm", "leave out --slurm or add --on slurm")
    if executor_name == "local" and (cpus is not None or gpus is not None):
        name = "--cpus" if cpus is not None else "--gpus"
        raise UserError(
            f"{name} is only for clusters",
            "on this machine --jobs divides cores and GPUs; else add --on ray or --on slurm",
        )
    if executor_name != "local" and jobs == "auto":
        raise UserError(f"--jobs auto with --on {executor_name}", "a cluster's jobs are given with --jobs N")
    if executor_name == "slurm" and gpus is not None and gpus != int(gpus):
        raise UserError(f"--gpus {gpus:g}: Slurm gives whole GPUs", "only --on ray takes parts of a GPU")
    parse_sbatch_options(slurm)


def parse_sbatch_options(words: Sequence[str]) -> dict[str, Any]:
    """Return `key=value` words as a mapping: numbers as numbers, `time` in minutes.

    Raises UserError for a word without a value, and for a time that is none.
    """
    options: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key or not value:
            raise UserError(f"--slurm {word}: not KEY=VALUE", "for example --slurm partition=gpu")
        options[key] = read_minutes(value) if key == "time" else int(value) if value.isdigit() else value
    return options


def read_minutes(text: str) -> int:
    """Return a time limit as sbatch takes it (90, 90:00, 1:30:00, 1-12, 1-12:30) in whole minutes, rounded up.

    submitit computes with this number when the time is up, and queues no job again if it is a text. Raises UserError
    for any other text, such as `infinite`.
    """
    if not (match := SBATCH_TIME.fullmatch(text)):
        raise UserError(f"--slurm time={text}: not a time limit", "minutes, such as time=240, or hours: time=4:00:00")
    days, *clock = match.groups()
    hours, minutes, seconds = (int(part or 0) for part in clock)
    if days is None and clock[2] is None:  # MM or MM:SS
        hours, minutes, seconds = 0, hours, minutes
    total_seconds = ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds
    if not total_seconds:
        raise UserError(f"--slurm time={text}: no time at all", "minutes, such as time=240")
    return math.ceil(total_seconds / 60)
