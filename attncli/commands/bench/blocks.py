"""`attncli bench blocks`: each mechanism against a convolution and against timm's."""

import importlib.util
from collections.abc import Sequence
from dataclasses import asdict
from operator import itemgetter

import click

from attncli.commands._completion import complete_mechanisms
from attncli.commands._device_option import device_option
from attncli.commands._output import echo_json, json_option, overwrite_line
from attncli.commands._value_types import NAMES
from attncli.errors import UserError
from attncli.system.terminal import find_terminal_width

TEXT_COLUMNS = ("attn", "shape", "type", "")


@click.command()
@click.option(
    "--attn",
    type=NAMES,
    default="all",
    metavar="NAMES",
    shell_complete=complete_mechanisms,
    help="Mechanisms separated by commas, or `all`.",
)
@click.option("--precision", type=click.Choice(["fp32", "bf16"]), help="Only this precision.")
@click.option("--contiguous", is_flag=True, help="Contiguous maps instead of channels_last ones.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@click.option("--repeats", type=click.IntRange(3), default=7, show_default=True)
@click.option("--against", type=click.Choice(["timm"]), help="Compare the outputs too, on equal weights.")
@device_option
@json_option
def command(
    attn: list[str],
    precision: str | None,
    contiguous: bool,
    threads: int,
    repeats: int,
    against: str | None,
    as_json: bool,
) -> None:
    """Time the forward and backward pass of each mechanism against a 3x3 convolution and against copying the map.

    If timm is installed (`pip install timm`) and has the block, it is timed against timm's too. A ratio above 1
    means that attncli's block takes longer. `--against timm` also prints how far timm's output is from attncli's on
    equal weights, as a share of the largest value.

    More in `attncli help benchmarks`.

    \b
    Example:
      attncli bench blocks --attn se,eca,cbam --precision bf16
    """
    import torch

    from attncli.benchmark import blocks

    if against and importlib.util.find_spec("timm") is None:
        raise UserError("--against timm: timm is not installed", "pip install 'attncli[timm]'")
    torch.set_num_threads(threads)
    timings = []
    for item in blocks.bench_blocks(
        blocks.list_block_mechanisms() if attn == ["all"] else tuple(attn),
        precisions=[precision] if precision else blocks.PRECISIONS,
        channels_last=not contiguous,
        repeats=repeats,
        against_timm=against == "timm",
    ):
        if isinstance(item, blocks.ReferenceTiming):
            overwrite_line("")
            click.echo(blocks.describe_reference(item), err=True)
        else:
            overwrite_line(f"  {item.attn}")
            timings.append(item)
    overwrite_line("")
    if as_json:
        return echo_json([asdict(row) for row in timings])
    return _print_aligned_table(blocks.COLUMNS, [blocks.format_block_row(row) for row in timings])


def _print_aligned_table(headings: Sequence[str], rows: Sequence[tuple[str, ...]]) -> None:
    """Print rows of text as a table, figures at the right, without a column that has neither heading nor text."""
    from attncli.report.table import Column, render_text_table

    columns = [
        Column(heading, itemgetter(i), heading not in TEXT_COLUMNS)
        for i, heading in enumerate(headings)
        if (heading and heading != "differs") or any(row[i] not in ("", "-") for row in rows)
    ]
    click.echo(render_text_table(columns, rows, width=find_terminal_width()))
