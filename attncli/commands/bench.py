"""`attncli bench`: how fast attncli itself is, in ratios."""

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from operator import itemgetter
from pathlib import Path

import click

from attncli.commands._bench_contest import evaluation, format_utc_now, history_option, train
from attncli.commands._options import echo_json, json_option

SHOWN_PACKAGES = 10  # packages


@click.group()
def command() -> None:
    """How fast attncli's own code is, as ratios taken in one run on this machine.

    \b
    Example:
      attncli bench train --backbone resnet20 --attn none --steps 10 --rounds 3
      attncli bench eval --backbone resnet20
      attncli bench data
      attncli bench start
      attncli bench blocks --attn se,eca,cbam
    """


command.add_command(train)
command.add_command(evaluation)


@command.command()
@click.option("--attn", default="all", metavar="NAMES", help="Mechanisms with commas, or all.")
@click.option("--precision", type=click.Choice(["fp32", "bf16"]), help="Only this one.")
@click.option("--contiguous", is_flag=True, help="Contiguous maps in place of channels_last ones.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@click.option("--repeats", type=click.IntRange(3), default=7, show_default=True)
@json_option
def blocks(attn: str, precision: str | None, contiguous: bool, threads: int, repeats: int, as_json: bool) -> None:
    """Time every mechanism, forward and backward, against a 3x3 convolution and against copying the map.

    Where timm is installed (`pip install timm`) and has the block, against timm's too. A ratio above 1 means that
    ours takes longer.

    \b
    Example:
      attncli bench blocks --attn se,eca,cbam --precision bf16
    """
    import torch

    from attncli.benchmark import blocks as engine

    torch.set_num_threads(threads)
    mechanisms = engine.list_block_mechanisms() if attn == "all" else tuple(attn.split(","))
    timings = []
    for item in engine.bench_blocks(
        mechanisms,
        precisions=[precision] if precision else engine.PRECISIONS,
        channels_last=not contiguous,
        repeats=repeats,
    ):
        if isinstance(item, engine.ReferenceTiming):
            _show_progress("")
            click.echo(engine.describe_reference(item), err=True)
        else:
            _show_progress(f"  {item.attn}")
            timings.append(item)
    _show_progress("")
    if as_json:
        return echo_json([asdict(row) for row in timings])
    return _print_aligned(engine.COLUMNS, [engine.format_block_row(row) for row in timings])


@command.command(name="data")
@click.option("--data-root", type=click.Path(path_type=Path, file_okay=False, exists=True), metavar="DIR",
              help="Folder with train/CLASS/*.jpg and test/ or val/; without it, JPEGs of noise are made.")  # fmt: skip
@click.option("--image-size", type=click.IntRange(8), default=224, show_default=True, metavar="PX")
@click.option("--batch-size", type=click.IntRange(1), default=64, show_default=True)
@click.option("--resized", is_flag=True, help="Random resized crops of whole images, also decoded anew: jpeg.")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="Turns of each way.")
@history_option
@json_option
def images(
    data_root: Path | None, image_size: int, batch_size: int, resized: bool, rounds: int, history: Path, as_json: bool
) -> None:
    """Time how images reach training, from JPEG and from the decoded cache, against torchvision's ImageFolder.

    imagefolder is torchvision's folder in a DataLoader with a worker process for each core; decode is attncli's first
    reading of the folder, which writes the cache; cache is every reading after that. Each way is followed by the
    memory at its peak, over all its processes.

    \b
    Example:
      attncli bench data --data-root ~/imagenette --image-size 160
    """
    from attncli.benchmark import data_loading
    from attncli.benchmark import history as past
    from attncli.measure.environment import describe_machine

    with tempfile.TemporaryDirectory() as temporary_folder:
        root = data_root or data_loading.write_noise_folder(Path(temporary_folder))
        bench_rows = data_loading.bench_data_loading(root.absolute(), image_size, batch_size, rounds, resized=resized)
    rows = [asdict(row) for row in bench_rows]
    past.append_entry(history, {"kind": "data", "time": format_utc_now(), "machine": describe_machine(), "rows": rows})
    if as_json:
        return echo_json(rows)
    from attncli.report.table import print_rows

    print_rows([data_loading.format_data_row(row) for row in bench_rows])
    return None


@command.command()
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="Runs that are timed.")
@history_option
@json_option
def start(rounds: int, history: Path, as_json: bool) -> None:
    """Time what a run costs beside its training: start to first step, end of training to exit, and the imports.

    Runs of one epoch on the digits, without timing the network, each in a process of its own.

    \b
    Example:
      attncli bench start --rounds 3
    """
    from attncli.benchmark import history as past
    from attncli.benchmark import startup
    from attncli.benchmark.results import compute_quartiles
    from attncli.measure.environment import describe_machine

    with tempfile.TemporaryDirectory() as temporary_folder:
        timings = [asdict(timing) for timing in startup.bench_startup(Path(temporary_folder), rounds)]
        import_seconds = startup.time_imports(Path(temporary_folder))
    spreads = {name: compute_quartiles([timing[name] for timing in timings]) for name in timings[0]}
    rows = [{"part": name, "seconds": values} for name, values in spreads.items()]
    past.append_entry(
        history,
        {
            "kind": "start",
            "time": format_utc_now(),
            "machine": describe_machine(),
            "rows": rows,
            "imports": import_seconds,
        },
    )
    if as_json:
        return echo_json({"parts": rows, "imports": import_seconds})
    from attncli.report.table import print_rows

    print_rows([{"part": name, "median": f"{m:.2f} s", "quartiles": f"{low:.2f}-{high:.2f}"}
          for name, (low, m, high) in spreads.items()])  # fmt: skip
    print_rows(
        [{"imports": name, "seconds": f"{value:.2f}"} for name, value in list(import_seconds.items())[:SHOWN_PACKAGES]]
    )
    return None


def _show_progress(line: str) -> None:
    """Where it is now, in place of the line before; only on a terminal."""
    if sys.stderr.isatty():
        click.echo(f"\r\033[K{line}", err=True, nl=False)


def _print_aligned(headings: Sequence[str], rows: Sequence[tuple[str, ...]]) -> None:
    """Rows of text as a table, figures to the right; a column without a heading only where it says something."""
    from rich.console import Console

    from attncli.report.table import Column, render_text_table

    text_columns = ("attn", "shape", "type", "")
    columns = [
        Column(heading, itemgetter(i), heading not in text_columns)
        for i, heading in enumerate(headings)
        if heading or any(row[i] for row in rows)
    ]
    click.echo(render_text_table(columns, rows, width=Console().width))
