"""The part of `attncli compare` that compares over tasks: its options, its runs, its table and its plot."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attncli.commands._comparison_plots import draw_task_plot, format_task_plot_name
from attncli.commands._result_stream import echo_result
from attncli.commands._run_filter_options import name_filters
from attncli.commands._run_options import choose_output_folder
from attncli.errors import UserError
from attncli.system.terminal import find_text_width

if TYPE_CHECKING:
    from attncli.analysis.over_tasks import TaskComparison
    from attncli.analysis.run_filter import RunFilter
    from attncli.runs import FailedRun, FinishedRun


def refuse_options_of_one_task(values: Mapping[str, object]) -> None:
    """Raise UserError for an option, given by name with its value, that a comparison over tasks would not follow."""
    for option, value in values.items():
        if value is not None:
            raise UserError(f"{option} with --over: it is for the comparison of single tasks", "leave out one of them")


def compare_runs_over_tasks(
    finished_runs: "Sequence[FinishedRun]",
    failed_runs: "Sequence[FailedRun]",
    over: Sequence[str],
    run_filter: "RunFilter",
) -> "TaskComparison":
    """Compare over tasks; all mechanisms are ranked together, whichever are shown."""
    from attncli.analysis.over_tasks import choose_mechanisms, compare_over_tasks

    selected_runs = replace(run_filter, attn=()).select_variants(finished_runs)
    task_comparison = compare_over_tasks(selected_runs, over, failed_runs)
    return choose_mechanisms(task_comparison, run_filter.attn) if run_filter.attn else task_comparison


def locate_task_plot(runs: Path, over: Sequence[str], filters: Mapping[str, Any], plot_as: str) -> Path:
    """Return the file of the plot over tasks; the filters stand in its name."""
    images_and_networks = [filters[name] for name in ("dataset", "backbone") if filters[name]]
    plot_name = format_task_plot_name(over, [*images_and_networks, *name_filters(filters)])
    return choose_output_folder(runs) / f"{plot_name}.{plot_as}"


def print_task_comparison(task_comparison: "TaskComparison", format_: str, file: Path | None) -> None:
    """Print the comparison over tasks, and draw the critical differences into the file, if one is given."""
    from attncli.report.over_tasks import render_task_comparison

    echo_result(render_task_comparison(task_comparison, format_, find_text_width()))
    if file is not None:
        draw_task_plot(task_comparison, file)
