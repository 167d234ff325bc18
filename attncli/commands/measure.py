"""`attncli measure`: what mechanisms cost, without training."""

import sys
from typing import Any

import click

from attncli.commands.options import echo_json, json_option, read_recipe, recipe_options


@click.command()
@recipe_options
@click.option("--classes", type=click.IntRange(1), help="Classes of the network [default: 1000 from 64 px, else 10].")
@click.option("--speed/--no-speed", default=True, help="Time training and inference too (interleaved).")
@click.option("--batch-size", type=click.IntRange(1), help="Images of a timed step [default: 128, 16 from 64 px].")
@json_option
def command(classes: int | None, speed: bool, batch_size: int | None, as_json: bool, **given: Any) -> None:
    """Measure overhead without training: parameters, MACs, memory, speed, each against the plain network.

    --attn takes a name, several with commas, or `all`. Every mechanism sits at its paper's site; what does not fit
    the backbone is listed with the reason.

    \b
    Example:
      attncli measure --attn all --backbone resnet50 --image-size 224
    """
    from attncli import attention

    asked = (given.pop("attn") or "all").split(",")
    names = list(attention.names()) if asked == ["all"] else asked
    size = given.pop("image_size") or 32
    values = {"measure.batch_size": batch_size or (16 if size >= LARGE else 128)}
    recipes = [read_recipe({**given, "attn": name}, values) for name in names]
    from attncli.measure.compare import overhead
    from attncli.model import Shape

    shape = Shape(classes or (1000 if size >= LARGE else 10), (size, size))
    rows = []
    with click.progressbar(
        recipes, file=sys.stderr, item_show_func=_name, hidden=as_json and not sys.stderr.isatty()
    ) as bar:
        rows = [overhead(recipe, shape, speed) for recipe in bar]
    if as_json:
        return echo_json([row.plain() for row in rows])
    from attncli.report.table import show

    show([_row(row) for row in rows if not row.problem], empty="nothing fits")
    for row in rows:
        if row.problem:
            click.echo(f"{row.attn} is left out: {row.problem}")
    click.echo(_caption(rows, size), err=True)
    return None


LARGE = 64  # px; from here on the networks are those of ImageNet


def _name(recipe: Any) -> str:
    return recipe.model.attn if recipe else ""


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
