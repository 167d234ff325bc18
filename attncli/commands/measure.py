"""`attncli measure`: what mechanisms cost, without training."""

import shutil
import sys
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
    from attncli.report.overhead import Measured, caption, tables

    first = recipes[0]
    measured = Measured(rows, first.model.backbone, shape.classes, size, first.data.frames)
    width = shutil.get_terminal_size().columns
    click.echo(tables(measured, width))
    click.echo("\n" + click.wrap_text(caption(measured), min(width, 100)), err=True)
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
