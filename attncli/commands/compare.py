"""`attncli compare`: compare finished runs, paired seed by seed."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from attncli.commands._completion import complete_backbones, complete_datasets, complete_mechanisms
from attncli.commands._options import NAMES, json_option, store_options

if TYPE_CHECKING:
    from attncli.analysis.compare import ComparisonRow


@click.command()
@click.option("--dataset", metavar="NAME", shell_complete=complete_datasets, help="Only runs on this dataset.")
@click.option("--backbone", metavar="NAME", shell_complete=complete_backbones, help="Only runs with this backbone.")
@click.option(
    "--attn",
    type=NAMES,
    metavar="NAMES",
    shell_complete=complete_mechanisms,
    help="Only these mechanisms (separated by commas) and their baseline.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["table", "csv", "json", "markdown"]),
    default="table",
    show_default=True,
)
@click.option(
    "--margin", type=float, default=0.5, show_default=True, help="Smallest difference that matters, in points."
)
@click.option(
    "--cost",
    type=click.Choice(["params", "macs", "train-time", "infer-time"]),
    default="params",
    show_default=True,
    help="Cost axis of the plot.",
)
@click.option("--plot/--no-plot", default=True, help="Draw RUNS/compare-*.png and add them to MLflow (default).")
@store_options
@json_option
def command(
    dataset: str | None,
    backbone: str | None,
    attn: list[str] | None,
    format_: str,
    margin: float,
    cost: str,
    plot: bool,
    runs: Path,
    tracking_uri: str | None,
    as_json: bool,
) -> None:
    """Compare finished runs: mean over seeds, paired difference to the plain network, overhead and speed.

    Differences are taken seed by seed against runs of the same recipe with `--attn none`. p values are corrected for
    the whole table. With too few seeds the verdict is "undecided".

    More in `attncli help concepts`.

    \b
    Example:
      attncli compare --dataset digits --backbone resnet18
      attncli compare --format csv > runs.csv
    """
    from attncli import track
    from attncli.analysis.compare import compare_variants
    from attncli.report import comparison

    run_rows = track.list_run_rows(tracking_uri, runs, dataset=dataset, backbone=backbone)
    if attn:
        mechanisms = {*attn, "none"}
        run_rows = [row for row in run_rows if row["attn"] in mechanisms]
    rows = compare_variants(run_rows, margin=margin / 100)
    if not rows and not as_json and format_ == "table":
        return click.echo("no finished runs that match: `attncli run --attn eca --backbone resnet18` makes one")
    click.echo(comparison.render_comparison(rows, "json" if as_json else format_))
    if plot and rows:
        _draw_plots(run_rows, rows, cost, runs, tracking_uri)
    return None


def _draw_plots(
    run_rows: list[dict[str, Any]], rows: "list[ComparisonRow]", cost: str, runs: Path, uri: str | None
) -> None:
    """Draw one plot per dataset and backbone, into the folder of runs and into the experiments of its runs."""
    from attncli import track
    from attncli.errors import UserError
    from attncli.report import comparison_figures

    for setting in dict.fromkeys((row.dataset, row.backbone) for row in rows):
        setting_rows = [row for row in rows if (row.dataset, row.backbone) == setting]
        file = runs / f"compare-{'-'.join(setting)}-{cost}.png"
        try:
            comparison_figures.draw_pareto(setting_rows, file, cost)
        except UserError as error:  # the table is complete; only the plot needs this cost
            click.echo(f"no plot: {error.problem}", err=True)
            continue
        ids = {run_id for row in setting_rows for run_id in row.run_ids}
        for experiment in {row["experiment"] for row in run_rows if row["run_id"] in ids}:
            track.attach_to_experiment([file], experiment=experiment, runs=runs, uri=uri)
        click.echo(f"plot: {file}", err=True)
