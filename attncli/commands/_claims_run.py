"""`attncli claims run`: train what claims about accuracy lack."""

from pathlib import Path
from typing import Any

import click

from attncli.commands._options import echo_json, find_recipe, json_option, store_options
from attncli.errors import UserError


@click.command()
@click.argument("ids", nargs=-1, required=True)
@click.option("--recipe", metavar="RECIPE", type=click.Path(path_type=Path), help="Recipe to train by.")
@click.option("--seeds", metavar="N|LIST", default="3", show_default=True, help="How many seeds, or which.")
@click.option("--dataset", metavar="NAME", help="Dataset instead of the claim's.")
@click.option("--data-root", metavar="DIR", help="Folder that holds, or gets, the dataset's files.")
@click.option("--backbone", metavar="NAME", help="Test what is claimed of a larger network on this one.")
@click.option("--epochs", type=int, metavar="N", help="Passes over the training images.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Set a key of every run.")
@click.option("--file", "files", multiple=True, type=click.Path(path_type=Path), help="Claims of your own (YAML).")
@click.option("--dry-run", is_flag=True, help="Print the runs, what is finished and about how long the rest takes.")
@click.option("--jobs", type=click.IntRange(1), metavar="N", help="Runs at a time  [default: one a GPU, else 1]")
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
@store_options
@json_option
def command(
    ids: tuple[str, ...],
    recipe: Path | None,
    seeds: str,
    files: tuple[Path, ...],
    backbone: str | None,
    overrides: tuple[str, ...],
    dry_run: bool,
    jobs: int | None,
    quiet: bool,
    runs: Path,
    tracking_uri: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Train the networks that the claims IDS compare, with the same recipe and seeds; what is finished stays.

    The recipe is the claim's, else recipes/DATASET-BACKBONE.yaml, else the default one.

    \b
    Example:
      attncli claims run simam-acc-cifar --seeds 5
      attncli claims run eca-acc-r50 --backbone resnet20 --dataset cifar10 --dry-run
    """
    from attncli.claims import claim_files, missing_runs
    from attncli.jobs.plan import plan_recipes
    from attncli.report import sweep_summary

    known = claim_files.read_claim_files(files) if files else claim_files.load_claims()
    keys = {"dataset": "data.name", "data_root": "data.root", "epochs": "train.epochs"}
    missing_runs.require_backbone(backbone)
    recipes = missing_runs.make_claim_recipes(
        claim_files.select_claims(known, ids),
        seeds=_parse_seed_list(seeds),
        path=find_recipe([recipe]) if recipe else None,
        values={keys[k]: v for k, v in options.items() if v is not None},
        overrides=overrides,
        backbone=backbone,
    )
    plan = plan_recipes(f"claims {' '.join(ids)}", recipes, runs=runs)
    if dry_run:
        return (
            echo_json([run.to_json_dict() for run in plan.runs])
            if as_json
            else click.echo(sweep_summary.render_plan(plan))
        )
    failures, stopped = _train_claims(plan, runs, tracking_uri, jobs, quiet)
    if as_json:
        echo_json(sweep_summary.build_sweep_dict(plan_recipes(plan.name, recipes, runs=runs), failures, runs))
    elif failures or stopped:
        click.echo(sweep_summary.render_sweep_end(plan, failures, runs, stopped=stopped))
    else:
        on = f" --backbone {backbone}" if backbone else ""
        click.echo(f"{len(plan.runs)} runs finished. Next: attncli claims {' '.join(ids)}{on} -v")
    if failures or stopped:
        raise SystemExit(130 if stopped.startswith("stopped by SIG") else 1)
    return None


def _train_claims(plan: Any, runs: Path, uri: str | None, jobs: int | None, quiet: bool) -> tuple[list[Any], str]:
    """Do the plan on this machine."""
    from attncli.commands.sweep import EXECUTORS, FIGURE_HOOK, execute_sweep
    from attncli.jobs.executors import choose_executor
    from attncli.jobs.worker_pool import WorkerSettings

    settings = WorkerSettings(runs, uri, FIGURE_HOOK)
    execute, parallel_jobs = choose_executor(EXECUTORS[0], settings, jobs=jobs, cpus=None, gpus=None, slurm=())
    return execute_sweep(plan, execute, parallel_jobs, settings, fail_fast=False, quiet=quiet)


def _parse_seed_list(text: str) -> list[int]:
    words = text.split(",")
    if not all(word.strip().isdigit() for word in words):
        raise UserError(f"--seeds {text}: not a number of seeds, nor seeds", "such as --seeds 5, or --seeds 0,1,7")
    numbers = [int(word) for word in words]
    return numbers if "," in text else list(range(numbers[0]))
