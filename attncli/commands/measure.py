"""`attncli measure`: what mechanisms cost, without training."""

import shutil
import sys
from functools import partial
from typing import Any

import click

from attncli.commands.options import echo_json, json_option, network_options, read_recipe


@click.command()
@network_options
@click.option("--classes", metavar="N", type=click.IntRange(1), help="Classes  [default: 1000 from 64 px, else 10]")
@click.option("--speed/--no-speed", default=True, help="Time training and inference too, in turn.")
@click.option(
    "--batch-size", metavar="N", type=click.IntRange(1), help="Images of a timed step  [default: 128, 16 from 64 px]"
)
@json_option
def command(classes: int | None, speed: bool, batch_size: int | None, as_json: bool, **given: Any) -> None:
    """Measure overhead without training: parameters, MACs, memory, speed, each against the plain network.

    Every mechanism sits at its paper's site; what does not fit the backbone is listed with the reason.
    Images have 32 px unless told otherwise.

    \b
    Example:
      attncli measure --attn all --backbone resnet50 --image-size 224
    """
    recipes, size = _recipes(given, batch_size)
    from attncli.measure.compare import overhead
    from attncli.model import Shape

    shape = Shape(classes or (1000 if size >= LARGE else 10), (size, size))
    with click.progressbar(
        recipes, file=sys.stderr, item_show_func=_name, hidden=as_json and not sys.stderr.isatty()
    ) as bar:
        rows = [overhead(recipe, shape, speed) for recipe in bar]
    if as_json:
        return echo_json([row.plain() for row in rows])
    click.echo(_table([row for row in rows if not row.problem]))
    for row in rows:
        if row.problem:
            click.echo(f"{row.attn} is left out: {row.problem}")
    click.echo("\n" + click.wrap_text(_caption(rows, size), min(shutil.get_terminal_size().columns, 100)), err=True)
    return None


LARGE = 64  # px; from here on the networks are those of ImageNet


def _recipes(given: dict[str, Any], batch_size: int | None) -> tuple[list[Any], int]:
    """A recipe for each mechanism asked for, and the side of the images in pixels."""
    from attncli import attention

    asked = given.pop("attn")
    names = (asked or "all").split(",")
    if asked is None:
        named = read_recipe(dict(given)).model.attn
        names = ["all"] if named == attention.NONE else [named]
    names = list(attention.names()) if names == ["all"] else names
    size = read_recipe({**given, "attn": names[0]}).data.image_size or 32
    values = {"measure.batch_size": batch_size or (16 if size >= LARGE else 128)}
    return [read_recipe({**given, "attn": name}, values) for name in names], size


def _name(recipe: Any) -> str:
    return recipe.model.attn if recipe else ""


def _table(rows: list[Any]) -> str:
    from attncli.report.table import Column, text

    if not rows:
        return "nothing fits"
    shown = [_row(row) for row in rows]
    columns = [Column(key, partial(_cell, key), key not in ("attn", "site")) for key in shown[0]]
    return text(columns, shown, width=shutil.get_terminal_size().columns)


def _cell(key: str, row: dict[str, Any]) -> str:
    return row[key]


def _row(row: Any) -> dict[str, Any]:
    """A line of the table; percentages are over the plain network, ratios are of its throughput."""
    cost, speed = row.cost, row.speed
    line = {
        "attn": row.attn,
        "site": row.site,
        "params": f"{cost.params:,}",
        "params %": f"{cost.percent('params'):+.2f}",
        "MACs %": f"{cost.percent('macs'):+.2f}",
        "elementwise %": f"{cost.percent('elementwise'):+.1f}",
        "memory %": f"{cost.percent('activation_bytes'):+.1f}",
    }
    if speed is None:
        return line
    return line | {"train": f"{speed.train_ratio:.2f}", "infer": f"{speed.infer_ratio:.2f}"}


def _caption(rows: list[Any], size: int) -> str:
    base = next((row.cost for row in rows if row.cost), None)
    told = f"{size} px. Percentages are over the plain network"
    if base:
        told += f" ({base.baseline_params:,} parameters, {base.baseline_macs / 1e9:.3f} GMACs)"
    return told + "; train and infer are shares of its throughput, measured in turn."
