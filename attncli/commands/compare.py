"""`attncli compare`: finished runs side by side, paired seed by seed."""

from pathlib import Path
from typing import Any

import click

from attncli.commands._options import json_option, store_options


@click.command()
@click.option("--dataset", metavar="NAME", help="Only runs on this dataset.")
@click.option("--backbone", metavar="NAME", help="Only runs with this backbone.")
@click.option("--attn", metavar="NAMES", help="Only these mechanisms (with commas) and their baseline.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["table", "csv", "json", "markdown"]),
    default="table",
    show_default=True,
)
@click.option(
    "--margin", type=float, default=0.5, show_default=True, help="Smallest difference of interest, in points."
)
@click.option(
    "--cost",
    type=click.Choice(["params", "macs", "train-time", "infer-time"]),
    default="params",
    show_default=True,
    help="Cost axis of the plot.",
)
@click.option("--plot/--no-plot", default=True, help="Draw RUNS/compare-*.png and put them into MLflow.")
@store_options
@json_option
def command(
    dataset: str | None,
    backbone: str | None,
    attn: str | None,
    format_: str,
    margin: float,
    cost: Any,
    plot: bool,
    runs: Path,
    tracking_uri: str | None,
    as_json: bool,
) -> None:
    """Compare finished runs: mean over seeds, paired difference to the plain network, overhead and speed.

    Differences are taken seed by seed against runs of the same recipe with `--attn none`; p values are corrected
    for the whole table, and too few seeds are told as "undecided".

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
        mechanisms = {*attn.split(","), "none"}
        run_rows = [row for row in run_rows if row["attn"] in mechanisms]
    rows = compare_variants(run_rows, margin=margin / 100)
    if not rows and not as_json and format_ == "table":
        return click.echo("no finished runs that match: `attncli run --attn eca --backbone resnet18` makes one")
    click.echo(comparison.render_comparison(rows, "json" if as_json else format_))
    if plot and rows:
        _draw_plots(run_rows, rows, cost, runs, tracking_uri)
    return None


def _draw_plots(run_rows: list[dict[str, Any]], rows: list[Any], cost: Any, runs: Path, uri: str | None) -> None:
    """One plot for each dataset and backbone, in the folder of runs and in the experiments of its runs."""
    from attncli import track
    from attncli.errors import UserError
    from attncli.report import figures

    for setting in dict.fromkeys((row.dataset, row.backbone) for row in rows):
        setting_rows = [row for row in rows if (row.dataset, row.backbone) == setting]
        file = runs / f"compare-{'-'.join(setting)}-{cost}.png"
        try:
            figures.draw_pareto(setting_rows, file, cost)
        except UserError as error:  # the table stands; a cost that nobody measured has no plot
            click.echo(f"no plot: {error.problem}", err=True)
            continue
        ids = {run_id for row in setting_rows for run_id in row.run_ids}
        for experiment in {row["experiment"] for row in run_rows if row["run_id"] in ids}:
            track.attach_to_experiment([file], experiment=experiment, runs=runs, uri=uri)
        click.echo(f"plot: {file}", err=True)
