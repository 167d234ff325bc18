"""`attncli compare`: compare finished runs, paired seed by seed."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from attncli.commands._comparison_plots import draw_plots
from attncli.commands._option_groups import F, apply_options
from attncli.commands._output import echo_note, format_option, json_option
from attncli.commands._printed_commands import complete_commands
from attncli.commands._result_stream import echo_result
from attncli.commands._run_filter_options import name_filters, run_filter_options
from attncli.commands._run_options import (
    alone_option,
    open_results_of_others,
    planned_seeds_option,
    refuse_alone_without_results,
    results_of_others_options,
    store_options,
    warn_of_unreadable_runs,
)
from attncli.commands._task_comparison import (
    compare_runs_over_tasks,
    locate_task_plot,
    print_task_comparison,
    refuse_options_of_one_task,
)
from attncli.commands._value_types import NAMES, FiniteNumber
from attncli.quantities import format_quantity
from attncli.system.terminal import find_text_width

if TYPE_CHECKING:
    from attncli.analysis.comparison_row import ComparisonRow
    from attncli.analysis.run_filter import RunFilter
    from attncli.report.table import Column
    from attncli.runs import FailedRun, FinishedRun, RunStore


_MARGIN = 0.5  # points

_TABLE_OPTIONS = (
    click.option(
        "--columns",
        type=NAMES,
        metavar="NAMES",
        help="Columns of the table after the name of the mechanism: params,macs,top1,top5, ...",
    ),
    click.option(
        "--spread",
        type=click.Choice(["ci", "sd"]),
        help="After ±: half the interval, or the standard deviation  [default: ci, sd in latex]",
    ),
    click.option(
        "--sort", type=click.Choice(["top1", "attention", "params", "macs", "latency"]), help="Order of the rows."
    ),
    click.option(
        "--margin",
        type=FiniteNumber(),
        help=f"Smallest difference that matters, in points.  [default: {_MARGIN}]",
    ),
)
_PLOT_OPTIONS = (
    click.option(
        "--cost",
        type=click.Choice(["params", "macs", "train-time", "infer-time"]),
        help="Cost axis of the plot.  [default: params]",
    ),
    click.option(
        "--plot/--no-plot",
        default=None,
        help="Draw RUNS/compare-*, and add them to MLflow if no results of others are shown.  [default: only then]",
    ),
    click.option(
        "--plot-as",
        type=click.Choice(["png", "pdf", "svg"]),
        default="png",
        show_default=True,
        help="Format of the plot.",
    ),
)


def _table_options(command: F) -> F:
    """Add the options that say what the table of single tasks has."""
    return apply_options(_TABLE_OPTIONS, command)


def _plot_options(command: F) -> F:
    """Add the options that say whether and how plots are drawn."""
    return apply_options(_PLOT_OPTIONS, command)


@click.command()
@run_filter_options
@format_option("table", "csv", "json", "markdown", "latex")
@_table_options
@planned_seeds_option
@click.option(
    "--over",
    type=NAMES,
    metavar="KEYS",
    help="Compare the mechanisms over tasks: dataset, backbone or both (separated by a comma).",
)
@results_of_others_options
@alone_option
@_plot_options
@store_options
@json_option
def command(
    format_: str,
    columns: list[str] | None,
    spread: Literal["ci", "sd"] | None,
    sort: str | None,
    margin: float | None,
    planned_seeds: int | None,
    over: list[str] | None,
    cost: str | None,
    with_files: tuple[Path, ...],
    shipped: tuple[str, ...],
    alone: bool,
    plot: bool | None,
    plot_as: str,
    runs: Path,
    tracking_uri: str | None,
    as_json: bool,
    **filters: Any,
) -> None:
    """Compare finished runs: mean over seeds, paired difference to the plain network, overhead and speed.

    Differences are taken seed by seed against runs of the same recipe with `--attn none`. Intervals and p values hold
    for all variants of a baseline together, also for those that are not shown. With too few seeds the verdict is
    "undecided".

    More in `attncli help statistics`.

    \b
    Example:
      attncli compare --dataset digits --backbone resnet18
      attncli compare --recipe cifar-fast --since 2026-11-01
      attncli compare --over dataset,backbone
      attncli compare --with theirs.results
      attncli compare --shipped cifar10-resnet20 --alone
      attncli compare --format csv > runs.csv
      attncli compare --format latex --columns attention,params,macs,top1,top5 > table.tex
    """
    from attncli.analysis.run_filter import read_run_filter
    from attncli.report.comparison_remarks import describe_lost_runs
    from attncli.runs import RunStore

    run_filter, run_store = read_run_filter(**filters, runs=runs), RunStore(runs, tracking_uri)
    finished_runs, failed_runs = _gather_runs(run_store, with_files, shipped, alone)
    run_filter.refuse_unknown_names(finished_runs)
    format_ = "json" if as_json else format_
    has_others = bool(with_files or shipped)
    draws_plots = not has_others if plot is None else plot
    if over:
        refuse_options_of_one_task({
            "--columns": columns, "--spread": spread, "--sort": sort, "--margin": margin, "--cost": cost,
            "--planned-seeds": planned_seeds,
        })  # fmt: skip
        task_comparison = compare_runs_over_tasks(finished_runs, failed_runs, over, run_filter)
        file = locate_task_plot(runs, over, filters, plot_as) if draws_plots else None
        return print_task_comparison(task_comparison, format_, file)
    margin = _MARGIN if margin is None else margin
    rows = _compare_single_tasks(finished_runs, failed_runs, run_filter, margin, planned_seeds, sort)
    table = _render_rows(rows, format_, columns, spread)
    for text in describe_lost_runs(failed_runs, finished_runs):
        echo_note(text)
    if not rows and format_ == "table":
        return click.echo(_describe_missing_runs(runs, alone))
    echo_result(table)
    if not has_others:
        _warn_of_untracked_runs(run_store, finished_runs)
    if draws_plots and rows:
        draw_plots(rows, cost or "params", run_store, name_filters(filters), plot_as, is_tracked=not has_others)
    return None


def _gather_runs(
    run_store: "RunStore", with_files: Sequence[Path], shipped: Sequence[str], alone: bool
) -> "tuple[Sequence[FinishedRun], Sequence[FailedRun]]":
    """Return the finished and the failed runs to compare: one's own, unless `alone`, and those of others.

    Raises UserError if `alone` leaves nothing, or no run of the files can be paired with one here.
    """
    refuse_alone_without_results(alone, with_files, shipped)
    finished_runs, failed_runs = ([], []) if alone else _read_own_runs(run_store)
    if with_files or shipped:
        return _add_results_of_others(finished_runs, failed_runs, with_files, shipped)
    return finished_runs, failed_runs


def _compare_single_tasks(
    finished_runs: "Sequence[FinishedRun]",
    failed_runs: "Sequence[FailedRun]",
    run_filter: "RunFilter",
    margin: float,
    planned_seeds: int | None,
    sort: str | None,
) -> "list[ComparisonRow]":
    """Return the rows to show, in their order; variants are tested together whatever is shown. `margin` is in points.

    Raises UserError if the margin is none.
    """
    from attncli.analysis.compare import compare_variants
    from attncli.report.comparison_columns import sort_rows

    all_rows = compare_variants(finished_runs, margin=margin / 100, planned_seeds=planned_seeds, failures=failed_runs)
    rows = run_filter.select_rows(all_rows)
    return sort_rows(rows, sort) if sort else rows


def _render_rows(
    rows: "Sequence[ComparisonRow]", format_: str, columns: Sequence[str] | None, spread: Literal["ci", "sd"] | None
) -> str:
    """Return the comparison of single tasks as text. Raises UserError for an unknown column."""
    from attncli.report.comparison import render_comparison

    shown_columns, shown_spread = _choose_paper_columns(columns, spread, format_)
    return render_comparison(rows, format_, find_text_width(), shown_columns, shown_spread)


def _describe_missing_runs(runs: Path, alone: bool) -> str:
    """Return that no run matches, and which command makes or resumes one."""
    from attncli.runs import describe_unfinished_runs

    unfinished = "" if alone else describe_unfinished_runs(runs)
    advice = unfinished or "`attncli run --attn eca --backbone resnet18` makes one"
    return complete_commands(f"no finished runs match: {advice}")


def _read_own_runs(run_store: "RunStore") -> "tuple[Sequence[FinishedRun], Sequence[FailedRun]]":
    """Return the finished and the failed runs of the store."""
    from attncli.runs import read_failed_runs, read_finished_runs

    finished_runs = read_finished_runs(run_store, warn_of_unreadable_runs)
    return finished_runs, read_failed_runs(run_store.runs, warn_of_unreadable_runs)


def _add_results_of_others(
    finished_runs: "Sequence[FinishedRun]",
    failed_runs: "Sequence[FailedRun]",
    with_files: Sequence[Path],
    shipped: Sequence[str],
) -> "tuple[Sequence[FinishedRun], Sequence[FailedRun]]":
    """Return the finished and the failed runs with the results of others.

    Raises UserError if no run of the files can be paired with one here.
    """
    from attncli.analysis.result_merging import merge_results, rename_failed_groups

    others, failures = open_results_of_others(with_files, shipped)
    merged_runs = merge_results(finished_runs, others, must_match=not shipped)
    return merged_runs, [*rename_failed_groups(failed_runs, others), *failures]


def _choose_paper_columns(
    names: Sequence[str] | None, spread: Literal["ci", "sd"] | None, format_: str
) -> "tuple[list[Column[ComparisonRow]] | None, Literal['ci', 'sd']]":
    """Return the columns of a paper's table, None for those of the screen, and what stands after ±.

    It is a paper's table if columns or the spread are chosen, and always in LaTeX.
    Raises UserError for an unknown column.
    """
    from attncli.report.comparison_columns import PAPER_COLUMNS, choose_columns

    shown_spread: Literal["ci", "sd"] = spread or ("sd" if format_ == "latex" else "ci")
    if not (names or spread or format_ == "latex"):
        return None, shown_spread
    return choose_columns(names or PAPER_COLUMNS, shown_spread), shown_spread


def _warn_of_untracked_runs(run_store: "RunStore", finished_runs: "Sequence[FinishedRun]") -> None:
    """Say on stderr how many finished runs MLflow does not have."""
    from attncli.runs import list_untracked_runs

    if missing := list_untracked_runs(run_store, finished_runs):
        echo_note(
            f"not in MLflow (deleted there, or made without it): {len(missing)} of "
            f"{format_quantity(len(finished_runs), 'run')}; `attncli sync` adds them",
        )
