"""Where a sweep's runs are done: here, on a Ray cluster, or as jobs of Slurm."""

from collections.abc import Sequence
from typing import Any

from attncli.errors import UserError
from attncli.jobs import devices
from attncli.jobs.crew import Place
from attncli.jobs.local import local
from attncli.jobs.work import Executor


def executor(
    on: str,
    place: Place,
    *,
    jobs: int | None = None,
    cpus: int | None = None,
    gpus: int | None = None,
    slurm: Sequence[str] = (),
) -> tuple[Executor, int]:
    """(the executor, about how many runs it does at a time). `slurm` are options of sbatch as `key=value`.

    Raises UserError for options that mean nothing there.
    """
    if slurm and on != "slurm":
        raise UserError("--slurm without --on slurm", "leave one out or add the other")
    if on == "local":
        if cpus is not None or gpus is not None:
            name = "--cpus" if cpus is not None else "--gpus"
            raise UserError(f"{name} is for clusters", "here --jobs shares out cores and GPUs; or --on ray, --on slurm")
        jobs = jobs or devices.default_jobs()
        return local(jobs, place), jobs
    if on == "ray":
        from attncli.jobs.on_ray import on_ray

        return on_ray(place, jobs=jobs, cpus=cpus or 1, gpus=gpus or 0), jobs or 1
    from attncli.jobs.on_slurm import on_slurm

    return on_slurm(place, jobs=jobs, cpus=cpus or 1, gpus=gpus or 0, options=options(slurm)), jobs or 1


def options(given: Sequence[str]) -> dict[str, Any]:
    """`key=value` words as a mapping, numbers as numbers. Raises UserError for a word without a value."""
    found: dict[str, Any] = {}
    for word in given:
        key, equals, value = word.partition("=")
        if not equals or not key or not value:
            raise UserError(f"--slurm {word}: not KEY=VALUE", "for example --slurm partition=gpu")
        found[key] = int(value) if value.isdigit() else value
    return found
