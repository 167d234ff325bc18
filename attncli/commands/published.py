"""`attncli published`: what is in print, from all sources, beside what is found here."""

import os
import shutil
from pathlib import Path

import click

from attncli.commands._options import echo_json, json_option, store_options


@click.command()
@click.option("--attn", metavar="NAMES", help="Only figures about these mechanisms (with commas).")
@click.option("--backbone", metavar="NAME", help="Only figures of this network.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@store_options
@json_option
def command(
    attn: str | None, backbone: str | None, as_csv: bool, runs: Path, tracking_uri: str | None, as_json: bool
) -> None:
    """List the published figures of every network: all sources, ours, the deviation.

    Parameters and MACs are counted here, accuracies are those of finished runs on the same data. Where sources print
    one network with different figures, that is said.

    \b
    Example:
      attncli published --attn eca
      attncli published --backbone resnet50 --csv > figures.csv
    """
    from attncli import attention
    from attncli.analysis.count_cache import CountCache
    from attncli.analysis.finished_runs import read_finished_runs
    from attncli.literature import published
    from attncli.literature.deviation import collect_figures
    from attncli.report import published_tables, table

    mechanisms = [attention.describe_mechanism(name).name for name in attn.split(",")] if attn else None
    rows = [
        row
        for row in published.load_published_rows()
        if (mechanisms is None or row.attn in mechanisms) and (backbone is None or row.backbone == backbone)
    ]
    figures = collect_figures(
        rows, CountCache(), read_finished_runs(runs, tracking_uri or os.environ.get("MLFLOW_TRACKING_URI"))
    )
    if as_json:
        return echo_json([figure.to_json_dict() for figure in figures])
    if as_csv:
        return click.echo(table.render_csv([figure.to_json_dict() for figure in figures]))
    if not figures:
        return click.echo("nothing published is known of this")
    return click.echo(published_tables.render_deviations(figures, shutil.get_terminal_size().columns))
