"""`attncli measure`: measure what mechanisms cost, without training."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from attncli.commands._device_option import device_option
from attncli.commands._key_conflicts import refuse_key_conflicts
from attncli.commands._output import echo_json, echo_note, format_option, json_option
from attncli.commands._recipe_options import classes_option, network_options, read_recipe
from attncli.commands._result_stream import echo_result
from attncli.errors import CollectedError, UserError
from attncli.system.terminal import fill_text, find_terminal_width

if TYPE_CHECKING:
    from attncli.measure.overhead import Overhead
    from attncli.model import InputSpec
    from attncli.recipe import Recipe

LARGE_SIDE = 64  # px; from here on the networks are those of ImageNet


@click.command()
@network_options
@classes_option
@click.option("--speed/--no-speed", default=True, help="Time training and inference too, in turn (default).")
@click.option(
    "--batch-size",
    metavar="N",
    type=click.IntRange(1),
    help="Images of a timed step  [default: the recipe's measure.batch_size, else 128, 16 from 64 px]",
)
@click.option(
    "--processes",
    metavar="N",
    type=click.IntRange(2),
    help="Time in N new processes, one after the other; intervals within and between them.",
)
@format_option("table", "csv", "markdown", "latex")
@device_option
@json_option
def command(
    classes: int | None,
    speed: bool,
    batch_size: int | None,
    processes: int | None,
    format_: str,
    as_json: bool,
    **options: Any,
) -> None:
    """Measure overhead without training: parameters, MACs, memory and speed, each against the plain network.

    Every mechanism is placed at its paper's site. Mechanisms that do not fit the backbone are listed with the reason.
    Images have 32 px unless the recipe or --image-size says otherwise.

    More in `attncli help concepts`.

    \b
    Example:
      attncli measure --attn all --backbone resnet50 --image-size 224
      attncli measure --attn none,se,eca --backbone resnet50 --image-size 224 --no-speed --format latex
      attncli measure --attn se,eca --backbone resnet20 --processes 5
    """
    if processes and not speed:  # before torch is loaded
        raise click.UsageError("--processes times, and --no-speed does not: leave out one of them")
    recipes, size = _read_measured_recipes(options, batch_size)
    from attncli.model import InputSpec
    from attncli.train import choose_device

    if speed:
        choose_device()  # an error if it is not there, before anything is printed
    shape = InputSpec(classes or (1000 if max(size) >= LARGE_SIDE else 10), size)
    _announce_many(recipes, speed)
    rows = _measure_rows(recipes, shape, speed, processes, hides_bar=as_json and not sys.stderr.isatty())
    if as_json:
        echo_json([row.to_json_dict() for row in rows])
    if all(row.cost is None for row in rows):
        raise CollectedError([UserError(row.problem, row.hint) for row in rows])
    if as_json:
        return None
    if format_ != "table":
        from attncli.report.overhead import render_absolute_overheads

        return echo_result(render_absolute_overheads(rows, format_))
    from attncli.report.overhead import MeasuredOverheads, describe_overhead_columns, render_overheads

    first = recipes[0]
    measured = MeasuredOverheads(rows, first.model.backbone, shape.classes, size, first.data.frames)
    width = find_terminal_width()
    click.echo(render_overheads(measured, width))
    click.echo("\n" + fill_text(describe_overhead_columns(measured), min(width, 100)), err=True)
    return None


def _announce_many(recipes: "Sequence[Recipe]", speed: bool) -> None:
    """Say on stderr how many mechanisms are measured, if more than one is, and what shortens it."""
    if len(recipes) > 1:
        timing = ", each timed in turn with it; --no-speed only counts" if speed else ""
        backbone = recipes[0].model.backbone
        echo_note(f"measures {len(recipes)} mechanisms against plain {backbone}{timing}; --attn NAME measures one")


def _measure_rows(
    recipes: "Sequence[Recipe]", shape: "InputSpec", speed: bool, processes: int | None, *, hides_bar: bool
) -> "list[Overhead]":
    """Return the overhead of each recipe, timed in `processes` new processes if a number is given; a bar on stderr."""
    if processes:
        from attncli.measure.processes import measure_in_processes

        with click.progressbar(length=processes, file=sys.stderr, label="processes", hidden=hides_bar) as ended:
            return measure_in_processes(recipes, shape, processes, lambda _: ended.update(1))
    from attncli.analysis.shipped_counts import find_shipped_cost
    from attncli.measure.overhead import measure_recipe_overhead

    with click.progressbar(recipes, file=sys.stderr, item_show_func=_name_mechanism, hidden=hides_bar) as bar:
        return [measure_recipe_overhead(recipe, shape, speed, find_shipped_cost) for recipe in bar]


def _read_measured_recipes(options: dict[str, Any], batch_size: int | None) -> "tuple[list[Recipe], tuple[int, int]]":
    """Return one recipe per requested mechanism, and the size (H, W) of the images in pixels."""
    from attncli import attention
    from attncli.measure.smallest_image import check_backbone_size

    refuse_key_conflicts({"measure.batch_size": batch_size, "model.attn": options["attn"]}, options["overrides"])
    names = options.pop("attn")
    if not names:
        recipe_mechanism = read_recipe(dict(options)).model.attn
        names = ["all"] if recipe_mechanism == attention.NONE else [recipe_mechanism]
    names = list(attention.mechanism_names()) if names == ["all"] else names
    first = read_recipe({**options, "attn": names[0]})
    size = first.data.size or (32, 32)
    values = {"measure.batch_size": batch_size or first.measure.batch_size or choose_batch_size(size)}
    recipes = [read_recipe({**options, "attn": name}, values) for name in names]
    for recipe in recipes:
        check_backbone_size(recipe, size)
    return recipes, size


def choose_batch_size(size: tuple[int, int]) -> int:
    """Return how many images of (H, W) pixels a timed step has."""
    return 16 if max(size) >= LARGE_SIDE else 128


def _name_mechanism(recipe: "Recipe | None") -> str:
    return recipe.model.attn if recipe else ""
