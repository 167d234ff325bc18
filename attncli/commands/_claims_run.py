"""`attncli claims run`: train what claims about accuracy lack."""

from pathlib import Path
from typing import Any

import click

from attncli.commands.options import echo_json, find, json_option, store_options
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
    **given: Any,
) -> None:
    """Train the networks that the claims IDS compare, with the same recipe and seeds; what is finished stays.

    The recipe is the claim's, else recipes/DATASET-BACKBONE.yaml, else the default one.

    \b
    Example:
      attncli claims run simam-acc-cifar --seeds 5
      attncli claims run eca-acc-r50 --backbone resnet20 --dataset cifar10 --dry-run
    """
    from attncli.jobs.plan import of
    from attncli.report import outcome
    from attncli.survey import claims, todo

    known = claims.read(files) if files else claims.claims()
    keys = {"dataset": "data.name", "data_root": "data.root", "epochs": "train.epochs"}
    todo.known_backbone(backbone)
    recipes = todo.recipes(
        claims.chosen(known, ids),
        seeds=_seeds(seeds),
        path=find([recipe]) if recipe else None,
        values={keys[k]: v for k, v in given.items() if v is not None},
        overrides=overrides,
        backbone=backbone,
    )
    made = of(f"claims {' '.join(ids)}", recipes, runs=runs)
    if dry_run:
        return echo_json([run.plain() for run in made.runs]) if as_json else click.echo(outcome.planned(made))
    failures, stopped = _train(made, runs, tracking_uri, jobs, quiet)
    if as_json:
        echo_json(outcome.plain(of(made.name, recipes, runs=runs), failures, runs))
    elif failures or stopped:
        click.echo(outcome.ended(made, failures, runs, stopped=stopped))
    else:
        on = f" --backbone {backbone}" if backbone else ""
        click.echo(f"{len(made.runs)} runs finished. Next: attncli claims {' '.join(ids)}{on} -v")
    if failures or stopped:
        raise SystemExit(130 if stopped.startswith("stopped by SIG") else 1)
    return None


def _train(made: Any, runs: Path, uri: str | None, jobs: int | None, quiet: bool) -> tuple[list[Any], str]:
    """Do the plan on this machine."""
    from attncli.commands.sweep import PICTURES, WHERE, carry_out
    from attncli.jobs.crew import Place
    from attncli.jobs.where import executor

    place = Place(runs, uri, PICTURES)
    do, width = executor(WHERE[0], place, jobs=jobs, cpus=None, gpus=None, slurm=())
    return carry_out(made, do, width, place, fail_fast=False, quiet=quiet)


def _seeds(given: str) -> list[int]:
    words = given.split(",")
    if not all(word.strip().isdigit() for word in words):
        raise UserError(f"--seeds {given}: not a number of seeds, nor seeds", "such as --seeds 5, or --seeds 0,1,7")
    numbers = [int(word) for word in words]
    return numbers if "," in given else list(range(numbers[0]))
