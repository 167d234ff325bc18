"""`attncli sweep`: many runs from one file, several at a time, gone on with after any failure."""

from pathlib import Path
from typing import Any

import click

from attncli.commands._options import echo_json, find_recipe, json_option, store_options

FIGURE_HOOK = "attncli.report.run_figures:save_run_figures"
EXECUTORS = ("local", "ray", "slurm")
ON_HELP = "This machine, a Ray cluster (RAY_ADDRESS), or Slurm jobs; the last two want their extra installed."


@click.command()
@click.argument("sweep", nargs=1, type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Print the plan, what is finished and about how long the rest takes.")
@click.option("--jobs", type=click.IntRange(1), metavar="N", help="Runs at a time  [default: one a GPU, else 1]")
@click.option("--on", "where", type=click.Choice(EXECUTORS), default=EXECUTORS[0], show_default=True, help=ON_HELP)
@click.option("--cpus", type=click.IntRange(1), metavar="N", help="Cores of a run on a cluster  [default: 1]")
@click.option("--gpus", type=click.IntRange(0), metavar="N", help="GPUs of a run on a cluster  [default: 0]")
@click.option("--slurm", multiple=True, metavar="KEY=VALUE", help="For sbatch: partition=gpu, time=60 (minutes), ...")
@click.option("--fail-fast", is_flag=True, help="Stop at the first failure instead of going on with the others.")
@click.option("--dataset", metavar="NAMES", help="Datasets (with commas) instead of the file's.")
@click.option("--backbone", metavar="NAMES", help="Backbones (with commas) instead of the file's.")
@click.option("--seeds", metavar="N|LIST", help="How many seeds, or which (with commas), instead of the file's.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Set a key of every run; may be repeated.")
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
@store_options
@json_option
def command(
    sweep: Path,
    dry_run: bool,
    jobs: int | None,
    where: str,
    cpus: int | None,
    gpus: int | None,
    slurm: tuple[str, ...],
    fail_fast: bool,
    dataset: str | None,
    backbone: str | None,
    seeds: str | None,
    overrides: tuple[str, ...],
    quiet: bool,
    runs: Path,
    tracking_uri: str | None,
    as_json: bool,
) -> None:
    """Run all runs of the file SWEEP (or a name in recipes/sweeps/) with their baselines, seed by seed.

    What is finished is not run again; what was stopped or failed is gone on with. Several calls may work on the same
    sweep at once. With --jobs the cores are shared out, so figures agree to the last bit only for the same --jobs.
    Speed is timed first, one network at a time. Exit code 1 if any run failed, 130 if stopped.

    \b
    Example:
      attncli sweep channel --dataset digits --seeds 3 --jobs 2
      attncli sweep recipes/sweeps/eca-kernel.yaml --dry-run
      attncli sweep survey --on slurm --gpus 1 --cpus 8 --slurm partition=gpu --tracking-uri http://head:5000
    """
    from attncli.jobs.executors import choose_executor
    from attncli.jobs.plan import plan_sweep
    from attncli.jobs.worker_pool import WorkerSettings
    from attncli.report import sweep_summary

    axes = {"dataset": _split_axis(dataset), "backbone": _split_axis(backbone), "seeds": _parse_seed_axis(seeds)}
    file = find_recipe([sweep]) or sweep
    sweep_plan = plan_sweep(file, runs=runs, overrides=overrides, axes={k: v for k, v in axes.items() if v is not None})
    if dry_run:
        return (
            echo_json([run.to_json_dict() for run in sweep_plan.runs])
            if as_json
            else click.echo(sweep_summary.render_plan(sweep_plan))
        )
    settings = WorkerSettings(runs, tracking_uri, FIGURE_HOOK)
    execute, parallel_jobs = choose_executor(where, settings, jobs=jobs, cpus=cpus, gpus=gpus, slurm=slurm)
    failures, stopped = execute_sweep(sweep_plan, execute, parallel_jobs, settings, fail_fast, quiet)
    if as_json:
        refreshed_plan = plan_sweep(
            file, runs=runs, overrides=overrides, axes={k: v for k, v in axes.items() if v is not None}
        )
        echo_json(sweep_summary.build_sweep_dict(refreshed_plan, failures, runs))
    else:
        click.echo(sweep_summary.render_sweep_end(sweep_plan, failures, runs, stopped=stopped))
    if failures or stopped:
        raise SystemExit(130 if stopped.startswith("stopped by SIG") else 1)
    return None


def execute_sweep(
    plan: Any, execute: Any, jobs: int, settings: Any, fail_fast: bool, quiet: bool
) -> tuple[list[Any], str]:
    """Do a plan, shown on stderr; (the runs that were not finished, why it stopped early)."""
    from attncli.jobs import execute_plan
    from attncli.report.sweep_progress import SweepProgress
    from attncli.system.signals import sweep_stop_request

    with sweep_stop_request() as stop, SweepProgress(plan, settings.runs, jobs=jobs, quiet=quiet) as board:
        for event in execute_plan(plan, execute, stop, runs=settings.runs, uri=settings.uri, fail_fast=fail_fast):
            board.handle_event(event)
    return board.failures, stop.reason


def _split_axis(text: str | None) -> list[str] | None:
    return None if text is None else text.split(",")


def _parse_seed_axis(text: str | None) -> Any:
    """A number of seeds, or a list of them; what is neither is told by the sweep's own reading."""
    if text is None:
        return None
    words = [int(word) if word.strip().isdigit() else word for word in text.split(",")]
    return words[0] if len(words) == 1 else words
