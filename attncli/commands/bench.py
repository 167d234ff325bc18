"""`attncli bench`: how fast attncli itself is, in ratios."""

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from operator import itemgetter
from pathlib import Path

import click

from attncli.commands._bench_contest import evaluation, history_option, now, train
from attncli.commands.options import echo_json, json_option

SHOWN = 10  # packages


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

    from attncli.measure import blocks as engine

    torch.set_num_threads(threads)
    wanted = engine.names() if attn == "all" else tuple(attn.split(","))
    found = []
    for item in engine.bench(
        wanted,
        precisions=[precision] if precision else engine.PRECISIONS,
        channels_last=not contiguous,
        repeats=repeats,
    ):
        if isinstance(item, engine.Reference):
            _passing("")
            click.echo(engine.caption(item), err=True)
        else:
            _passing(f"  {item.attn}")
            found.append(item)
    _passing("")
    if as_json:
        return echo_json([asdict(row) for row in found])
    return _lined_up(engine.COLUMNS, [engine.cells(row) for row in found])


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
    from attncli.measure import feeding, machine
    from attncli.measure import history as past

    with tempfile.TemporaryDirectory() as made:
        root = data_root or feeding.noise_folder(Path(made))
        found = feeding.bench(root.absolute(), image_size, batch_size, rounds, resized=resized)
    rows = [asdict(row) for row in found]
    past.keep(history, {"kind": "data", "time": now(), "machine": machine(), "rows": rows})
    if as_json:
        return echo_json(rows)
    from attncli.report.table import show

    show([feeding.cells(row) for row in found])
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
    from attncli.measure import fixed, machine
    from attncli.measure import history as past
    from attncli.measure.training import spread

    with tempfile.TemporaryDirectory() as made:
        found = [asdict(one) for one in fixed.bench(Path(made), rounds)]
        imported = fixed.imports(Path(made))
    spreads = {name: spread([one[name] for one in found]) for name in found[0]}
    rows = [{"part": name, "seconds": values} for name, values in spreads.items()]
    past.keep(history, {"kind": "start", "time": now(), "machine": machine(), "rows": rows, "imports": imported})
    if as_json:
        return echo_json({"parts": rows, "imports": imported})
    from attncli.report.table import show

    show([{"part": name, "median": f"{m:.2f} s", "quartiles": f"{low:.2f}-{high:.2f}"}
          for name, (low, m, high) in spreads.items()])  # fmt: skip
    show([{"imports": name, "seconds": f"{value:.2f}"} for name, value in list(imported.items())[:SHOWN]])
    return None


def _passing(line: str) -> None:
    """Where it is now, in place of the line before; only on a terminal."""
    if sys.stderr.isatty():
        click.echo(f"\r\033[K{line}", err=True, nl=False)


def _lined_up(headings: Sequence[str], rows: Sequence[tuple[str, ...]]) -> None:
    """Rows of text as a table, figures to the right; a column without a heading only where it says something."""
    from rich.console import Console

    from attncli.report.table import Column, text

    left = ("attn", "shape", "type", "")
    columns = [
        Column(heading, itemgetter(i), heading not in left)
        for i, heading in enumerate(headings)
        if heading or any(row[i] for row in rows)
    ]
    click.echo(text(columns, rows, width=Console().width))
