"""`attncli claims run`: train the runs that claims about accuracy lack."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from attncli.commands._completion import complete_backbones, complete_claims, complete_datasets, complete_recipes
from attncli.commands._options import (
    JOBS_HELP,
    device_option,
    echo_json,
    find_recipe,
    json_option,
    store_options,
)
from attncli.commands._value_types import IMAGE_SIZE, JOBS, SEEDS
from attncli.quantities import format_quantity
from attncli.system.terminal import find_terminal_width

if TYPE_CHECKING:
    from attncli.jobs import SweepPlan, TaskEnded
    from attncli.runs import RunStore

OPTION_KEYS = {
    "dataset": "data.name",
    "data_root": "data.root",
    "image_size": "data.image_size",
    "epochs": "train.epochs",
}


@click.command()
@click.argument("ids", nargs=-1, required=True, shell_complete=complete_claims)
@click.option(
    "--recipe",
    metavar="RECIPE",
    type=click.Path(path_type=Path),
    shell_complete=complete_recipes,
    help="Recipe to train with  [default: the claim's]",
)
@click.option("--fast", is_flag=True, help="A short schedule (cifar-fast, imagenet-fast), for a first look.")
@click.option("--seeds", type=SEEDS, metavar="N|LIST", default="3", show_default=True, help="How many, or which.")
@click.option("--dataset", metavar="NAME", shell_complete=complete_datasets, help="Dataset instead of the claim's.")
@click.option("--data-root", metavar="DIR", help="Folder that holds the dataset's files, or gets them.")
@click.option(
    "--backbone",
    metavar="NAME",
    shell_complete=complete_backbones,
    help="Test claims about a larger network on this one.",
)
@click.option("--image-size", type=IMAGE_SIZE, metavar="PX", help="Side of the images in pixels, or HEIGHTxWIDTH.")
@click.option("--epochs", type=int, metavar="N", help="Passes over the training images.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Set a key of every run.")
@click.option("--file", "files", multiple=True, type=click.Path(path_type=Path), help="File with your claims (YAML).")
@click.option("--dry-run", is_flag=True, help="Print the runs, which are finished, and how long the rest takes.")
@click.option("--jobs", type=JOBS, metavar="N|auto", help=JOBS_HELP)
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr; warnings stay.")
@device_option
@store_options
@json_option
def command(
    ids: tuple[str, ...],
    recipe: Path | None,
    fast: bool,
    seeds: int | list[int],
    files: tuple[Path, ...],
    backbone: str | None,
    overrides: tuple[str, ...],
    dry_run: bool,
    jobs: int | Literal["auto"] | None,
    quiet: bool,
    runs: Path,
    tracking_uri: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Train the networks that the claims IDS compare, with the same recipe and seeds. Finished runs are kept.

    The recipe is the claim's, else one that suits its dataset and networks: cifar, imagenet, imagenet-mobile and
    others, with the schedules of papers. --fast takes a short schedule. The recipe that is used is printed.

    More in `attncli help claims`.

    \b
    Example:
      attncli claims run simam-acc-cifar --seeds 5
      attncli claims run simam-acc-cifar --fast --dry-run
      attncli claims run eca-acc-r50 --backbone resnet20 --dataset cifar10 --dry-run
    """
    from attncli.claims import claim_files, missing_runs
    from attncli.jobs.plan import check_plan_images, plan_recipes
    from attncli.report import claims as claims_report
    from attncli.report import sweep_summary
    from attncli.runs import RunStore

    known_claims = claim_files.read_claim_files(files) if files else claim_files.load_claims()
    missing_runs.require_backbone(backbone)
    trainings = missing_runs.plan_claim_trainings(
        claim_files.select_claims(known_claims, ids),
        seeds=list(range(seeds)) if isinstance(seeds, int) else seeds,
        path=find_recipe([recipe]) if recipe else None,
        values={OPTION_KEYS[k]: v for k, v in options.items() if v is not None},
        overrides=overrides,
        backbone=backbone,
        fast=fast,
    )
    recipes = missing_runs.make_claim_recipes(trainings)
    plan = plan_recipes(f"claims {' '.join(ids)}", recipes, runs=runs)
    if not as_json:
        click.echo(claims_report.describe_trainings(trainings), err=True)
    if dry_run:
        if as_json:
            return echo_json([run.to_json_dict() for run in plan.runs])
        click.echo(sweep_summary.render_plan(plan, find_terminal_width()))
        for text in sweep_summary.describe_plan_images(plan):
            click.echo(text, err=True)
        return None
    check_plan_images(plan)
    failures, stopped = _train_missing_runs(plan, RunStore(runs, tracking_uri), jobs, quiet)
    if as_json:
        echo_json(sweep_summary.build_sweep_dict(plan_recipes(plan.name, recipes, runs=runs), failures, runs))
    elif failures or stopped:
        click.echo(sweep_summary.render_sweep_end(plan, failures, runs, stopped=stopped))
    else:
        words = [*ids, *(["--backbone", backbone] if backbone else [])]
        words += [word for file in files for word in ("--file", str(file))]
        runs_text = format_quantity(len(plan.runs), "run")
        click.echo(f"{runs_text} finished. Next: attncli claims {shlex.join(words)} -v")
    if failures or stopped:
        raise SystemExit(130 if stopped.startswith("stopped by SIG") else 1)
    return None


def _train_missing_runs(
    plan: "SweepPlan", run_store: "RunStore", jobs: int | Literal["auto"] | None, quiet: bool
) -> "tuple[list[TaskEnded], str]":
    """Execute the plan on this machine. Return the runs that did not finish, and why it stopped early."""
    from attncli.commands.sweep import EXECUTORS, FIGURE_HOOK, execute_sweep, list_sweep_notes
    from attncli.jobs.executors import choose_executor
    from attncli.jobs.worker_pool import WorkerSettings

    settings = WorkerSettings(run_store, FIGURE_HOOK)
    executor, parallel_jobs = choose_executor(EXECUTORS[0], settings, jobs=jobs)
    for note in list_sweep_notes(EXECUTORS[0], None):
        click.echo(f"note: {note}", err=True)
    return execute_sweep(plan, executor, parallel_jobs, settings, fail_fast=False, quiet=quiet)
