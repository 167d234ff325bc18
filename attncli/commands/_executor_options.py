"""The options that choose what executes the runs of a sweep: this machine or a cluster, and how many at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import click

from attncli.commands._option_groups import F, apply_options
from attncli.commands._value_types import JOBS, FiniteNumber

EXECUTORS = ("local", "ray", "slurm")
LOCAL = EXECUTORS[0]
ON_HELP = "This machine, a Ray cluster (RAY_ADDRESS), or Slurm jobs; the last two need their extra installed."

jobs_option = click.option(
    "--jobs",
    type=JOBS,
    metavar="N|auto",
    help="Runs at a time; auto: several if one leaves a GPU or cores idle  [default: one per GPU, else 1]",
)
_EXECUTOR = (
    jobs_option,
    click.option("--on", "executor_name", type=click.Choice(EXECUTORS), default=LOCAL, show_default=True, help=ON_HELP),
    click.option("--cpus", type=click.IntRange(1), metavar="N", help="Cores per run on a cluster  [default: 1]"),
    click.option(
        "--gpus",
        type=FiniteNumber(0),
        metavar="N",
        help="GPUs per run on a cluster; Ray takes 0.25 too  [default: on Ray 1 if there are GPUs, on Slurm 0]",
    ),
    click.option(
        "--slurm",
        multiple=True,
        metavar="KEY=VALUE",
        help="Option for sbatch: partition=gpu, time=240 (minutes) or 4:00:00, ...",
    ),
)


@dataclass(frozen=True)
class ExecutorChoice:
    """What executes the runs, as the user asks for it; `attncli.jobs.executors.choose_executor` checks it."""

    name: str = LOCAL
    jobs: int | Literal["auto"] | None = None
    cpus: int | None = None
    gpus: float | None = None
    slurm: Sequence[str] = ()


def executor_options(command: F) -> F:
    """Add the options that choose what executes the runs; `read_executor_choice` reads them."""
    return apply_options(_EXECUTOR, command)


def read_executor_choice(options: dict[str, Any]) -> ExecutorChoice:
    """Return what executes the runs; the keys of `executor_options` are removed from what click passes on."""
    name, jobs, cpus, gpus, slurm = (options.pop(key) for key in ("executor_name", "jobs", "cpus", "gpus", "slurm"))
    return ExecutorChoice(name, jobs, cpus, gpus, slurm)


def check_executor_choice(choice: ExecutorChoice) -> None:
    """Raise UserError for options that the executor has not, as an execution of the plan would."""
    from attncli.jobs.executors import check_executor_options

    check_executor_options(choice.name, jobs=choice.jobs, cpus=choice.cpus, gpus=choice.gpus, slurm=choice.slurm)
