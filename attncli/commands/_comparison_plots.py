"""The plots of `attncli compare`: one per dataset and backbone, in the folder of runs and in MLflow."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from attncli.commands._run_options import choose_output_folder

if TYPE_CHECKING:
    from attncli.analysis.comparison_row import ComparisonRow
    from attncli.analysis.over_tasks import TaskComparison
    from attncli.runs import RunStore


def draw_plots(
    rows: "list[ComparisonRow]",
    cost: str,
    run_store: "RunStore",
    filters: Sequence[str],
    format_: str,
    *,
    is_tracked: bool,
) -> None:
    """Draw one plot per dataset and backbone.

    It lies in the folder of runs, or in the current one without it. A plot that shows the same already stays as it is.

    Args:
        rows: what the plots show.
        cost: the cost on their axis.
        run_store: the folder of runs and the MLflow store.
        filters: the words that chose the rows, for the names of the files.
        format_: `png`, `pdf` or `svg`.
        is_tracked: whether each plot is added to the MLflow experiments of its runs, if there is a store.
    """
    from attncli.report.drawn_plots import is_plot_current, make_plot_key, remember_plot

    for setting in dict.fromkeys((row.images, row.backbone) for row in rows):
        setting_rows = [row for row in rows if (row.images, row.backbone) == setting]
        name = format_plot_name(*setting, cost, filters)
        file = (choose_output_folder(run_store.runs) / name).with_suffix(f".{format_}")
        runs = [run for row in setting_rows for run in row.runs]
        has_store = run_store.has_store()
        experiments = sorted({run.experiment for run in runs}) if is_tracked and has_store else []
        store = [run_store.resolve_address(), str(has_store)]
        key = make_plot_key([row.to_json_dict() for row in setting_rows], cost, *store, *experiments)
        if not is_plot_current(file, key):
            if not _draw_plot(setting_rows, file, cost, run_store, experiments):
                continue
            remember_plot(file, key)
        click.echo(f"plot: {file}", err=True)


def format_plot_name(images: str, backbone: str, cost: str, filters: Sequence[str] = ()) -> str:
    """Return the file name of a plot; the filters stand in it, so that it does not replace the plot of all."""
    from attncli.system.code_reference import label_mechanism_name
    from attncli.system.files import make_file_name

    chosen = ["+".join(map(label_mechanism_name, filters))] if filters else []
    return f"compare-{make_file_name('-'.join((images, backbone, *chosen, cost)))}.png"


def format_task_plot_name(over: Sequence[str], filters: Sequence[str]) -> str:
    """Return the file name, without suffix, of the plot over tasks; the filters stand in it, as in other plots."""
    from attncli.system.code_reference import label_mechanism_name
    from attncli.system.files import make_file_name

    chosen = ["+".join(map(label_mechanism_name, filters))] if filters else []
    return make_file_name("-".join(("compare-over", *over, *chosen)))


def draw_task_plot(task_comparison: "TaskComparison", file: Path) -> None:
    """Draw the critical differences into a file, and say on stderr where it is, or why there is none."""
    from attncli.report.over_tasks import draw_critical_differences

    try:
        draw_critical_differences(task_comparison, file)
    except OSError as error:  # the table is complete; only the plot needs this folder
        click.echo(f"no plot: {file}: {error.strerror}", err=True)
    else:
        click.echo(f"plot: {file}", err=True)


def _draw_plot(
    rows: "list[ComparisonRow]", file: Path, cost: str, run_store: "RunStore", experiments: Sequence[str]
) -> bool:
    """Draw a plot and attach it to the MLflow experiments; return whether there was something to draw."""
    from attncli import track
    from attncli.errors import UserError
    from attncli.report.cost_figures import draw_pareto
    from attncli.report.difference_figures import draw_difference_rows, is_crowded

    draw = draw_difference_rows if is_crowded(rows) else draw_pareto
    try:
        draw(rows, file, cost)
    except (UserError, OSError) as error:  # the table is complete; only the plot needs this cost, or this folder
        reason = error.problem if isinstance(error, UserError) else f"{file}: {error.strerror}"
        click.echo(f"no plot: {reason}", err=True)
        return False
    for experiment in experiments:
        track.attach_to_experiment([file], experiment=experiment, run_store=run_store)
    return True
