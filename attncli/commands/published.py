"""`attncli published`: list published figures beside what was measured here."""

from pathlib import Path

import click

from attncli.commands._completion import complete_backbones, complete_mechanisms
from attncli.commands._output import csv_option, echo_json, json_option, overwrite_line
from attncli.commands._result_stream import echo_result
from attncli.commands._run_options import store_options, warn_of_unreadable_runs
from attncli.commands._value_types import NAMES
from attncli.errors import unknown_name_error
from attncli.system.terminal import find_terminal_width


@click.command()
@click.option(
    "--attn",
    type=NAMES,
    metavar="NAMES",
    shell_complete=complete_mechanisms,
    help="Only figures about these mechanisms (separated by commas).",
)
@click.option("--backbone", metavar="NAME", shell_complete=complete_backbones, help="Only figures about this network.")
@csv_option
@store_options
@json_option
def command(
    attn: list[str] | None, backbone: str | None, as_csv: bool, runs: Path, tracking_uri: str | None, as_json: bool
) -> None:
    """List the published figures of every network from all sources, the figure measured here, and the deviation.

    Parameters and MACs are counted here. Accuracies come from finished runs on the same data. If sources print
    different figures for one network, the table is followed by them.

    More in `attncli help claims`.

    \b
    Example:
      attncli published --attn eca
      attncli published --backbone resnet50 --csv > figures.csv
    """
    from attncli import attention, backbones
    from attncli.analysis.count_cache import CountCache
    from attncli.analysis.deviation import collect_figures
    from attncli.literature import published
    from attncli.report import published_tables, table
    from attncli.runs import RunStore, read_finished_runs

    mechanisms = [attention.describe_mechanism(name).name for name in attn] if attn else None
    published_rows = published.load_published_rows()
    known_backbones = {row.backbone for row in published_rows} | set(backbones.backbone_names())
    if backbone is not None and backbone not in known_backbones:
        raise unknown_name_error("backbone", backbone, known_backbones, aliases=backbones.list_backbone_aliases())
    own_backbone = None if backbone is None else published.name_own_backbone(backbone)
    rows = [
        row
        for row in published_rows
        if (mechanisms is None or any(map(row.is_about, mechanisms))) and own_backbone in (None, row.own_backbone)
    ]
    finished_runs = read_finished_runs(RunStore(runs, tracking_uri), warn_of_unreadable_runs)
    figures = collect_figures(rows, CountCache(report_network=overwrite_line), finished_runs)
    overwrite_line("")
    if as_json:
        return echo_json([figure.to_json_dict() for figure in figures])
    if as_csv:
        return echo_result(table.render_csv([figure.to_json_dict() for figure in figures]))
    if not figures:
        return click.echo("no published figure is known for this")
    return click.echo(published_tables.render_deviations(figures, find_terminal_width()))
