"""A plan of runs that a command prints or executes, with its progress on stderr."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from attncli.commands._executor_options import LOCAL, ExecutorChoice
from attncli.commands._output import echo_json, echo_note
from attncli.errors import UserError
from attncli.system.terminal import find_terminal_width

if TYPE_CHECKING:
    from attncli.jobs import SweepPlan, TaskEnded
    from attncli.runs import RunStore
    from attncli.system.signals import StopRequest

FIGURE_HOOK = "attncli.report.run_figures:save_run_figures"


def print_plan(plan: "SweepPlan", as_json: bool) -> None:
    """Print a plan and what is left of it, and on stderr which images there are.

    Raises UserError for images that a run refuses.
    """
    from attncli.report import sweep_summary

    image_lines = sweep_summary.describe_plan_images(plan)
    if as_json:
        return echo_json([run.to_json_dict() for run in plan.runs])
    click.echo(sweep_summary.render_plan(plan, find_terminal_width()))
    for line in image_lines:
        echo_note(line)
    return None


def execute_sweep(
    plan: "SweepPlan", run_store: "RunStore", choice: ExecutorChoice, *, quiet: bool, fail_fast: bool = False
) -> "tuple[list[TaskEnded], StopRequest]":
    """Execute a plan with progress on stderr.

    Args:
        plan: the runs.
        run_store: where they and their MLflow store are.
        choice: what executes them, here or on a cluster.
        quiet: whether to print warnings only.
        fail_fast: whether the first failure stops the others.

    Returns:
        The runs that did not finish, and the request by which the sweep stopped early (without a reason if it did not).

    Raises:
        UserError: the executor cannot be had as it is asked for, or images that are here would be refused by a run.
    """
    from attncli.jobs import execute_plan
    from attncli.jobs.executors import choose_executor
    from attncli.jobs.worker_pool import WorkerSettings
    from attncli.report.sweep_progress import SweepProgress
    from attncli.system.signals import sweep_stop_request

    _check_images(plan, is_local=choice.name == LOCAL, quiet=quiet)
    executor, jobs = choose_executor(
        choice.name,
        WorkerSettings(run_store, FIGURE_HOOK),
        jobs=choice.jobs,
        cpus=choice.cpus,
        gpus=choice.gpus,
        slurm=choice.slurm,
    )
    for note in _list_executor_notes(choice):
        echo_note(f"note: {note}")
    with sweep_stop_request() as stop, SweepProgress(plan, run_store.runs, jobs=jobs, quiet=quiet) as progress:
        for event in execute_plan(plan, executor, stop, run_store, fail_fast=fail_fast):
            progress.handle_event(event)
    return progress.failures, stop


def _check_images(plan: "SweepPlan", *, is_local: bool, quiet: bool) -> None:
    """Raise UserError for images of the plan that a run would refuse, before anything is submitted or trained.

    The machines of a cluster may have folders that this one lacks: for them a missing folder is only told of.
    """
    from attncli.jobs.plan import check_plan_images
    from attncli.report import sweep_summary

    if is_local:
        return check_plan_images(plan)
    for line in sweep_summary.describe_plan_images(plan):
        if not quiet:
            echo_note(line)
    return None


def _list_executor_notes(choice: ExecutorChoice) -> list[str]:
    """Return what a user should hear about the devices of a sweep before it starts, one line each.

    Raises UserError if `--device` asks for CUDA and this machine, which is to run the sweep, has no usable GPU.
    """
    from attncli.jobs import resources
    from attncli.system import gpu_support, hardware

    requested = gpu_support.read_requested_device()
    if choice.name == "slurm" and choice.gpus is None and requested != "cpu":
        return ["without --gpus the jobs get no GPU and train on CPUs; --gpus 1 asks for one each"]
    if choice.name != LOCAL or requested == "cpu":
        return []
    obstacle = gpu_support.find_gpu_obstacle()
    if requested.startswith("cuda") and (obstacle or not (resources.list_gpus() or hardware.list_gpu_names())):
        problem, hint = obstacle or ("there is no NVIDIA GPU here", "leave out --device; `attncli doctor` says more")
        raise UserError(f"--device {requested}: {problem}", hint)
    return [f"{obstacle[0]}; the runs train on the CPU ({obstacle[1]})"] if obstacle else []


def exit_unless_complete(failures: "Sequence[TaskEnded]", stop: "StopRequest") -> None:
    """Raise SystemExit if a run failed (1), or if the sweep was stopped early (130 by a signal, else 1)."""
    if failures or stop.reason:
        raise SystemExit(130 if stop.is_signal else 1)
