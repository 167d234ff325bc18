"""`attncli sweep`: train many runs from one file, several at a time; resumes after any failure."""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from attncli.commands._completion import (
    complete_backbones,
    complete_datasets,
    complete_mechanisms,
    complete_recipe_keys,
    complete_recipes,
    complete_sweeps,
)
from attncli.commands._device_option import device_option
from attncli.commands._executor_options import check_executor_choice, executor_options, read_executor_choice
from attncli.commands._key_conflicts import describe_seeds, refuse_key_conflicts
from attncli.commands._option_groups import F, apply_options
from attncli.commands._output import echo_json, echo_note, json_option, quiet_option
from attncli.commands._printed_commands import complete_commands
from attncli.commands._recipe_options import (
    data_root_option,
    epochs_option,
    image_size_option,
    refuse_misplaced_words,
    refuse_unused_root,
    resolve_run_weights,
)
from attncli.commands._run_options import new_store_options, open_results_of_others, results_of_others_options
from attncli.commands._sweep_execution import execute_sweep, exit_unless_complete, print_plan
from attncli.commands._value_types import NAMES, SEEDS
from attncli.errors import UserError
from attncli.quantities import format_numbers, format_quantity
from attncli.shortcuts import SHORTCUT_KEYS

if TYPE_CHECKING:
    from attncli.jobs import SweepPlan
    from attncli.runs import FinishedRun
    from attncli.sweep import MechanismList


_RUN_OPTIONS = (
    click.option(
        "--dataset",
        type=NAMES,
        metavar="NAMES",
        shell_complete=complete_datasets,
        help="Datasets (separated by commas) instead of the file's.",
    ),
    click.option(
        "--backbone",
        type=NAMES,
        metavar="NAMES",
        shell_complete=complete_backbones,
        help="Backbones (separated by commas) instead of the file's.",
    ),
    click.option(
        "--seeds",
        type=SEEDS,
        metavar="N|LIST",
        help="How many seeds, or which, instead of the file's; 3 without a file.",
    ),
    data_root_option,
    image_size_option,
    epochs_option,
    click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        shell_complete=complete_recipe_keys,
        help="Set a key of every run; may be repeated.",
    ),
)


def _swept_run_options(command: F) -> F:
    """Add the options that say what the runs of a sweep are, beside its mechanisms and recipe."""
    return apply_options(_RUN_OPTIONS, command)


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
@executor_options
@click.option("--fail-fast", is_flag=True, help="Stop at the first failure instead of continuing with the other runs.")
@_swept_run_options
@results_of_others_options
@quiet_option
@device_option
@new_store_options
@json_option
def command(
    sweep: Path | None,
    attn: list[str] | None,
    recipe: Path | None,
    dry_run: bool,
    fail_fast: bool,
    dataset: list[str] | None,
    backbone: list[str] | None,
    seeds: int | list[int] | None,
    overrides: tuple[str, ...],
    with_files: tuple[Path, ...],
    shipped: tuple[str, ...],
    quiet: bool,
    runs: Path,
    tracking_uri: str | None,
    as_json: bool,
    **options: Any,
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
    from attncli.report import sweep_summary
    from attncli.runs import RunStore

    choice = read_executor_choice(options)
    mechanisms = _read_mechanisms(attn)
    source = _choose_source(sweep, mechanisms, recipe)
    axes = {"attn": mechanisms, "dataset": dataset, "backbone": backbone, "seeds": seeds}
    axes = {name: values for name, values in axes.items() if values is not None}
    _refuse_key_conflicts(axes | {"attn": attn}, options, overrides)
    overrides = (*_list_shortcut_overrides(options), *resolve_run_weights(overrides, runs))
    others = open_results_of_others(with_files, shipped)[0] if with_files or shipped else []
    plan_runs = partial(_plan_runs, source, runs, overrides, axes, others)
    plan = plan_runs()
    if options["data_root"] is not None:
        refuse_unused_root([run.recipe.data for run in plan.runs])
    _warn_of_changed_images(plan)
    _warn_of_seeds_beyond(plan, runs)
    if dry_run:
        check_executor_choice(choice)
        return print_plan(plan, as_json)
    run_store = RunStore(runs, tracking_uri)
    failures, stop = execute_sweep(plan, run_store, choice, quiet=quiet, fail_fast=fail_fast)
    if as_json:
        echo_json(sweep_summary.build_sweep_dict(plan_runs(), failures, runs))
    else:
        unchanged_sweep = None if overrides or attn or dataset or backbone else str(sweep)
        summary = sweep_summary.render_sweep_end(plan, failures, run_store, stopped=stop.reason, sweep=unchanged_sweep)
        click.echo(complete_commands(summary))
    exit_unless_complete(failures, stop)
    return None


def _plan_runs(
    source: "Path | MechanismList",
    runs: Path,
    overrides: Iterable[str],
    axes: Mapping[str, Any],
    others: "Sequence[FinishedRun]",
) -> "SweepPlan":
    """Return the plan of a sweep as the folder of runs is now, in which the runs of others count as finished."""
    from attncli.analysis.finished_elsewhere import mark_finished_elsewhere
    from attncli.jobs.plan import plan_sweep

    plan = plan_sweep(source, runs=runs, overrides=overrides, axes=axes)
    return mark_finished_elsewhere(plan, others, runs) if others else plan


def _list_shortcut_overrides(options: dict[str, Any]) -> list[str]:
    """Return the options that stand for a key of the recipe as KEY=VALUE; those that are not given are left out."""
    values = {key: options.get(name) for name, key in SHORTCUT_KEYS.items()}
    return [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in values.items() if value is not None]


def _refuse_key_conflicts(axes: Mapping[str, Any], options: Mapping[str, Any], overrides: Iterable[str]) -> None:
    """Raise UserError if an axis or another option, and `--set`, give a key different values."""
    values = {key: options.get(name) for name, key in SHORTCUT_KEYS.items()}
    axis_values = {SHORTCUT_KEYS[name]: names for name, names in axes.items() if name in SHORTCUT_KEYS}
    refuse_key_conflicts(values | axis_values | {"seed": describe_seeds(axes.get("seeds"))}, overrides)


def _warn_of_changed_images(plan: "SweepPlan") -> None:
    """Say on stderr how many runs have other images than finished runs of the same recipe."""
    changed_count = sum(run.recipe.data.content is not None for run in plan.runs)
    if changed_count:
        total = format_quantity(len(plan.runs), "run")
        echo_note(f"{changed_count} of {total} with other images than before: these are other runs")


def _warn_of_seeds_beyond(plan: "SweepPlan", runs: Path) -> None:
    """Say on stderr if the sweep adds seeds to finished ones that it does not have: its number is then no plan."""
    from attncli.jobs.plan import find_seeds_beyond

    seeds, total = find_seeds_beyond(plan, runs)
    if seeds:
        names = format_numbers("seed", sorted(seeds))
        echo_note(
            f"warning: {names} finished before, outside of this sweep: verdicts count the new seeds as "
            f"unplanned; --set planned_seeds={total} plans all of them (attncli help statistics)"
        )


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
