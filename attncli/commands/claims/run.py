"""`attncli claims run`: train the runs that claims about accuracy lack."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from attncli.commands._claim_options import claim_backbone_option, claim_files_option, read_known_claims
from attncli.commands._completion import complete_claims, complete_datasets, complete_recipes
from attncli.commands._device_option import device_option
from attncli.commands._executor_options import ExecutorChoice, jobs_option
from attncli.commands._key_conflicts import describe_seeds, refuse_key_conflicts
from attncli.commands._output import echo_json, echo_note, json_option, quiet_option
from attncli.commands._printed_commands import complete_commands
from attncli.commands._recipe_options import (
    data_root_option,
    epochs_option,
    find_recipe,
    image_size_option,
    resolve_run_weights,
)
from attncli.commands._run_options import new_store_options
from attncli.commands._sweep_execution import execute_sweep, exit_unless_complete, print_plan
from attncli.commands._value_types import SEEDS
from attncli.errors import UserError
from attncli.quantities import format_quantity
from attncli.shortcuts import SHORTCUT_KEYS

if TYPE_CHECKING:
    from attncli.runs import RunStore

DEFAULT_SEEDS = 3


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
@click.option("--seeds", type=SEEDS, metavar="N|LIST", help=f"How many, or which.  [default: {DEFAULT_SEEDS}]")
@click.option("--dataset", metavar="NAME", shell_complete=complete_datasets, help="Dataset instead of the claim's.")
@data_root_option
@claim_backbone_option
@image_size_option
@epochs_option
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Set a key of every run.")
@claim_files_option
@click.option("--dry-run", is_flag=True, help="Print the runs, which are finished, and how long the rest takes.")
@jobs_option
@quiet_option
@device_option
@new_store_options
@json_option
def command(
    ids: tuple[str, ...],
    recipe: Path | None,
    fast: bool,
    seeds: int | list[int] | None,
    files: tuple[Path, ...],
    backbone: str | None,
    overrides: tuple[str, ...],
    dry_run: bool,
    jobs: int | Literal["auto"] | None,
    quiet: bool,
    runs: Path,
    tracking_uri: str | None,
    as_json: bool,
    **shortcuts: Any,
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
    from attncli.jobs.plan import plan_recipes
    from attncli.report import sweep_summary
    from attncli.report.claims import describe_trainings
    from attncli.runs import RunStore

    known_claims = read_known_claims(files)
    missing_runs.require_backbone(backbone)
    values = {SHORTCUT_KEYS[name]: value for name, value in shortcuts.items() if value is not None}
    _check_overrides(overrides, values, seeds)
    trainings = missing_runs.plan_claim_trainings(
        claim_files.select_claims(known_claims, ids),
        seeds=_list_seeds(seeds),
        path=find_recipe([recipe]) if recipe else None,
        values=values,
        overrides=resolve_run_weights(overrides, runs),
        backbone=backbone,
        fast=fast,
    )
    recipes = missing_runs.make_claim_recipes(trainings)
    plan = plan_recipes(f"claims {' '.join(ids)}", recipes, runs=runs)
    if not as_json:
        echo_note(describe_trainings(trainings))
    if dry_run:
        return print_plan(plan, as_json)
    run_store = RunStore(runs, tracking_uri)
    failures, stop = execute_sweep(plan, run_store, ExecutorChoice(jobs=jobs), quiet=quiet)
    if as_json:
        echo_json(sweep_summary.build_sweep_dict(plan_recipes(plan.name, recipes, runs=runs), failures, runs))
    elif failures or stop.reason:
        summary = sweep_summary.render_sweep_end(plan, failures, run_store, stopped=stop.reason)
        click.echo(complete_commands(summary))
    else:
        next_command = _format_next_command(ids, backbone, files, run_store)
        click.echo(f"{format_quantity(len(plan.runs), 'run')} finished. Next: {next_command}")
    exit_unless_complete(failures, stop)
    return None


def _list_seeds(seeds: int | list[int] | None) -> list[int]:
    """Return the seeds of `--seeds`, of which a number says how many."""
    count_or_list = DEFAULT_SEEDS if seeds is None else seeds
    return list(range(count_or_list)) if isinstance(count_or_list, int) else count_or_list


def _check_overrides(overrides: Iterable[str], values: Mapping[str, Any], seeds: int | list[int] | None) -> None:
    """Raise UserError if `--set` replaces the networks of the claim, or gives a key another value than an option."""
    from attncli.recipe import parse_override, split_section

    settings = [setting for item in overrides for setting in split_section(*parse_override(item)).items()]
    for key, name in settings:
        if key in ("model.attn", "model.backbone"):
            advice = f"--backbone {name}" if key == "model.backbone" else "`attncli sweep --attn NAMES` trains others"
            raise UserError(f"--set {key}={name}: the claim says which networks are trained", advice)
    refuse_key_conflicts({**values, "seed": describe_seeds(seeds)}, overrides)


def _format_next_command(ids: Sequence[str], backbone: str | None, files: Sequence[Path], run_store: "RunStore") -> str:
    """Return the command that prints the verdicts on the claims."""
    from attncli.runs import list_store_options

    options = ["--backbone", backbone] if backbone else []
    options += [word for file in files for word in ("--file", str(file))]
    return shlex.join(["attncli", "claims", *ids, *options, *list_store_options(run_store), "-v"])
