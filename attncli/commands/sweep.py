"""`attncli sweep`: train many runs from one file, several at a time; resumes after any failure."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from attncli.commands._completion import (
    complete_backbones,
    complete_datasets,
    complete_mechanisms,
    complete_recipe_keys,
    complete_recipes,
    complete_sweeps,
)
from attncli.commands._options import (
    JOBS_HELP,
    device_option,
    echo_json,
    json_option,
    open_results_of_others,
    refuse_misplaced_words,
    store_options,
    with_option,
)
from attncli.commands._value_types import IMAGE_SIZE, JOBS, NAMES, SEEDS
from attncli.errors import UserError
from attncli.quantities import format_quantity
from attncli.shortcuts import SHORTCUT_KEYS
from attncli.system.terminal import find_terminal_width

if TYPE_CHECKING:
    from attncli.jobs import SweepPlan, TaskEnded
    from attncli.jobs.execute import Executor
    from attncli.jobs.worker_pool import WorkerSettings
    from attncli.sweep import MechanismList

FIGURE_HOOK = "attncli.report.run_figures:save_run_figures"
EXECUTORS = ("local", "ray", "slurm")
ON_HELP = "This machine, a Ray cluster (RAY_ADDRESS), or Slurm jobs; the last two need their extra installed."


@click.command()
@click.argument("sweep", nargs=1, required=False, type=click.Path(path_type=Path), shell_complete=complete_sweeps)
@click.option(
    "--attn",
    type=NAMES,
    metavar="NAMES",
    shell_complete=complete_mechanisms,
    help="Mechanisms (separated by commas, or `all`) instead of the file's, or without a file.",
)
@click.option(
    "--recipe",
    type=click.Path(path_type=Path),
    metavar="RECIPE",
    shell_complete=complete_recipes,
    help="Without SWEEP: the recipe of every run  [default: as of `attncli run`]",
)
@click.option(
    "--dry-run", is_flag=True, help="Print the plan, which runs are finished, and about how long the rest takes."
)
@click.option("--jobs", type=JOBS, metavar="N|auto", help=JOBS_HELP)
@click.option(
    "--on", "executor_name", type=click.Choice(EXECUTORS), default=EXECUTORS[0], show_default=True, help=ON_HELP
)
@click.option("--cpus", type=click.IntRange(1), metavar="N", help="Cores per run on a cluster  [default: 1]")
@click.option(
    "--gpus",
    type=click.FloatRange(0),
    metavar="N",
    help="GPUs per run on a cluster; Ray takes 0.25 too  [default: on Ray 1 if there are GPUs, on Slurm 0]",
)
@click.option(
    "--slurm", multiple=True, metavar="KEY=VALUE", help="Option for sbatch: partition=gpu, time=60 (minutes), ..."
)
@click.option("--fail-fast", is_flag=True, help="Stop at the first failure instead of continuing with the other runs.")
@click.option(
    "--dataset",
    type=NAMES,
    metavar="NAMES",
    shell_complete=complete_datasets,
    help="Datasets (separated by commas) instead of the file's.",
)
@click.option(
    "--backbone",
    type=NAMES,
    metavar="NAMES",
    shell_complete=complete_backbones,
    help="Backbones (separated by commas) instead of the file's.",
)
@click.option(
    "--seeds", type=SEEDS, metavar="N|LIST", help="How many seeds, or which, instead of the file's; 3 without a file."
)
@click.option("--data-root", metavar="DIR", help="Folder that holds the dataset's files, or gets them.")
@click.option("--image-size", type=IMAGE_SIZE, metavar="PX", help="Side of the images in pixels, or HEIGHTxWIDTH.")
@click.option("--epochs", type=int, metavar="N", help="Passes over the training images.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    shell_complete=complete_recipe_keys,
    help="Set a key of every run; may be repeated.",
)
@with_option
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr; warnings stay.")
@device_option
@store_options
@json_option
def command(
    sweep: Path | None,
    attn: list[str] | None,
    recipe: Path | None,
    dry_run: bool,
    jobs: int | Literal["auto"] | None,
    executor_name: str,
    cpus: int | None,
    gpus: float | None,
    slurm: tuple[str, ...],
    fail_fast: bool,
    dataset: list[str] | None,
    backbone: list[str] | None,
    seeds: int | list[int] | None,
    data_root: str | None,
    image_size: int | list[int] | None,
    epochs: int | None,
    overrides: tuple[str, ...],
    with_files: tuple[Path, ...],
    shipped: tuple[str, ...],
    quiet: bool,
    runs: Path,
    tracking_uri: str | None,
    as_json: bool,
) -> None:
    """Train all runs of SWEEP (a file, or a name of `attncli recipe ls`) with their baselines, seed by seed.

    Without SWEEP, --attn names the mechanisms and --recipe what they share.

    Finished runs are not run again; runs that were stopped or failed resume. Several calls may work on the same sweep
    at once. --jobs divides the cores among the runs, so results are equal to the last bit only for the same --jobs.
    Speed is timed first, one network at a time. Exit code 1 if any run failed, 130 if stopped.

    With --with FILE the runs in a file of results count as finished: seeds that are complete there, and of others what
    was trained under the same conditions, on the same kind of machine and the same images.

    More in `attncli help sweeps`.

    \b
    Example:
      attncli sweep channel --dataset digits --seeds 3 --jobs 2
      attncli sweep eca-kernel --dry-run
      attncli sweep --attn se,eca,cbam --recipe quickstart --backbone resnet20
      attncli sweep --attn eca,cbam.py:CBAM --dataset folder --data-root mine --image-size 64
      attncli sweep survey --on slurm --gpus 1 --cpus 8 --slurm partition=gpu --tracking-uri http://head:5000
    """
    from attncli.analysis.finished_elsewhere import count_finished_elsewhere
    from attncli.jobs.executors import choose_executor
    from attncli.jobs.plan import check_plan_images, plan_sweep
    from attncli.jobs.worker_pool import WorkerSettings
    from attncli.report import sweep_summary
    from attncli.runs import RunStore

    mechanisms = _read_mechanisms(attn)
    axes = {"attn": mechanisms, "dataset": dataset, "backbone": backbone, "seeds": seeds}
    axes = {name: values for name, values in axes.items() if values is not None}
    source = _choose_source(sweep, mechanisms, recipe)
    shortcuts = {"data_root": data_root, "image_size": image_size, "epochs": epochs}
    given = [f"{SHORTCUT_KEYS[name]}={json.dumps(value)}" for name, value in shortcuts.items() if value is not None]
    overrides = (*given, *overrides)
    others = open_results_of_others(with_files, shipped) if with_files or shipped else []

    def plan_runs() -> "SweepPlan":
        plan = plan_sweep(source, runs=runs, overrides=overrides, axes=axes)
        return count_finished_elsewhere(plan, others, runs) if others else plan

    sweep_plan = plan_runs()
    changed_count = sum(run.recipe.data.content is not None for run in sweep_plan.runs)
    if changed_count:
        total = format_quantity(len(sweep_plan.runs), "run")
        message = f"{changed_count} of {total} with other images than before: these are other runs"
        click.echo(message, err=True)
    if dry_run:
        rows = [run.to_json_dict() for run in sweep_plan.runs]
        if as_json:
            return echo_json(rows)
        images = sweep_summary.describe_plan_images(sweep_plan)
        click.echo(sweep_summary.render_plan(sweep_plan, find_terminal_width()))
        for text in images:
            click.echo(text, err=True)
        return None
    if executor_name == EXECUTORS[0]:  # a cluster's machines have other folders
        check_plan_images(sweep_plan)
    settings = WorkerSettings(RunStore(runs, tracking_uri), FIGURE_HOOK)
    executor, parallel_jobs = choose_executor(executor_name, settings, jobs=jobs, cpus=cpus, gpus=gpus, slurm=slurm)
    for note in list_sweep_notes(executor_name, gpus):
        click.echo(f"note: {note}", err=True)
    failures, stopped = execute_sweep(sweep_plan, executor, parallel_jobs, settings, fail_fast, quiet)
    if as_json:
        echo_json(sweep_summary.build_sweep_dict(plan_runs(), failures, runs))
    else:
        same_plan = None if overrides or attn or dataset or backbone else str(sweep)
        click.echo(sweep_summary.render_sweep_end(sweep_plan, failures, runs, stopped=stopped, sweep=same_plan))
    if failures or stopped:
        raise SystemExit(130 if stopped.startswith("stopped by SIG") else 1)
    return None


def _read_mechanisms(names: list[str] | None) -> "list[str | dict[str, str]] | None":
    """Return the values of the axis of mechanisms; `all` stands for all of them."""
    from attncli.jobs.plan import ALL_CATEGORY
    from attncli.sweep.parser import CATEGORY

    return [{CATEGORY: name} if name == ALL_CATEGORY else name for name in names] if names else None


def _choose_source(
    sweep: Path | None, attn: "list[str | dict[str, str]] | None", recipe: Path | None
) -> "Path | MechanismList":
    """Return the file that SWEEP names, or the mechanisms with the recipe that they share.

    Raises UserError if neither is given, or both a file and a recipe.
    """
    from attncli.recipe import find_recipe_file
    from attncli.sweep import MechanismList

    if sweep is not None:
        refuse_misplaced_words((sweep,))
        if recipe is not None:
            raise UserError(
                "--recipe: a sweep's file has its recipe", "leave out SWEEP or --recipe; --set changes keys"
            )
        return find_recipe_file(sweep, "sweep")
    if attn is None:
        hint = (
            "a file or a name of `attncli recipe ls`, or without one: attncli sweep --attn se,eca --backbone resnet20"
        )
        raise UserError("SWEEP is missing", hint)
    return MechanismList(tuple(attn), find_recipe_file(recipe) if recipe else None)


def list_sweep_notes(executor_name: str, gpus: float | None) -> list[str]:
    """Return what a user should hear about the devices of a sweep before it starts, one line each.

    Raises UserError if `--device` asks for CUDA and this machine, which is to run the sweep, has no usable GPU.
    """
    from attncli.jobs import resources
    from attncli.system import gpu_support, hardware

    requested = gpu_support.read_requested_device()
    if executor_name == "slurm" and gpus is None and requested != "cpu":
        return ["without --gpus the jobs get no GPU and train on CPUs; --gpus 1 asks for one each"]
    if executor_name != "local" or requested == "cpu":
        return []
    obstacle = gpu_support.find_gpu_obstacle()
    if requested.startswith("cuda") and (obstacle or not (resources.list_gpus() or hardware.list_gpu_names())):
        problem, hint = obstacle or ("there is no NVIDIA GPU here", "leave out --device; `attncli doctor` says more")
        raise UserError(f"--device {requested}: {problem}", hint)
    return [f"{obstacle[0]}; the runs train on the CPU ({obstacle[1]})"] if obstacle else []


def execute_sweep(
    plan: "SweepPlan", executor: "Executor", jobs: int, settings: "WorkerSettings", fail_fast: bool, quiet: bool
) -> "tuple[list[TaskEnded], str]":
    """Execute a plan with progress on stderr.

    Args:
        plan: the runs.
        executor: runs them, here or on a cluster.
        jobs: how many it runs at a time.
        settings: where the runs and their store are.
        fail_fast: whether the first failure stops the others.
        quiet: whether to print warnings only.

    Returns:
        The runs that did not finish, and why the sweep stopped early ("" if it did not).
    """
    from attncli.jobs import execute_plan
    from attncli.report.sweep_progress import SweepProgress
    from attncli.system.signals import sweep_stop_request

    with sweep_stop_request() as stop, SweepProgress(plan, settings.runs, jobs=jobs, quiet=quiet) as board:
        for event in execute_plan(plan, executor, stop, settings.run_store, fail_fast=fail_fast):
            board.handle_event(event)
    return board.failures, stop.reason
