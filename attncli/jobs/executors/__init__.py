"""Where a sweep's runs are done: here, on a Ray cluster, or as jobs of Slurm."""

from collections.abc import Sequence
from typing import Any

from attncli.errors import UserError
from attncli.jobs import resources
from attncli.jobs.execute import Executor
from attncli.jobs.executors.local import make_local_executor
from attncli.jobs.worker_pool import WorkerSettings


def choose_executor(
    executor_name: str,
    settings: WorkerSettings,
    *,
    jobs: int | None = None,
    cpus: int | None = None,
    gpus: int | None = None,
    slurm: Sequence[str] = (),
) -> tuple[Executor, int]:
    """Return (the executor, about how many runs it does at a time). `slurm` are options of sbatch as `key=value`.

    Raises UserError for options that mean nothing there.
    """
    if slurm and executor_name != "slurm":
        raise UserError("--slurm without --on slurm", "leave one out or add the other")
    if executor_name == "local":
        if cpus is not None or gpus is not None:
            name = "--cpus" if cpus is not None else "--gpus"
            raise UserError(f"{name} is for clusters", "here --jobs shares out cores and GPUs; or --on ray, --on slurm")
        jobs = jobs or resources.choose_job_count()
        return make_local_executor(jobs, settings), jobs
    if executor_name == "ray":
        from attncli.jobs.executors.ray import make_ray_executor

        return make_ray_executor(settings, jobs=jobs, cpus=cpus or 1, gpus=gpus or 0), jobs or 1
    from attncli.jobs.executors.slurm import make_slurm_executor

    return make_slurm_executor(
        settings, jobs=jobs, cpus=cpus or 1, gpus=gpus or 0, options=parse_sbatch_options(slurm)
    ), jobs or 1


def parse_sbatch_options(words: Sequence[str]) -> dict[str, Any]:
    """`key=value` words as a mapping, numbers as numbers. Raises UserError for a word without a value."""
    options: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key or not value:
            raise UserError(f"--slurm {word}: not KEY=VALUE", "for example --slurm partition=gpu")
        options[key] = int(value) if value.isdigit() else value
    return options
