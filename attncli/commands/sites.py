"""`attncli sites`: list where a mechanism goes in a network, with its parameters at each place."""

from typing import Any

import click

from attncli.commands._output import echo_json, echo_note, format_option, json_option
from attncli.commands._recipe_options import classes_option, read_recipe, recipe_options
from attncli.commands._result_stream import echo_result
from attncli.system.terminal import find_terminal_width


@click.command()
@recipe_options
@classes_option
@format_option("table", "csv", "markdown", "latex")
@json_option
def command(classes: int | None, format_: str, as_json: bool, **options: Any) -> None:
    """List the places of a mechanism in a network: path, stage, channels, map and parameters; then a sum per stage.

    Images have 224 px unless the recipe or --image-size says otherwise. Nothing is trained or downloaded.

    More in `attncli help concepts`.

    \b
    Example:
      attncli sites --attn eca --backbone resnet50
      attncli sites --attn cbam --backbone resnet20 --image-size 32 --format csv
    """
    from attncli.errors import UserError

    recipe = read_recipe(options)
    if recipe.model.attn == "none":
        raise UserError(
            "model.attn is none: there is no mechanism whose sites could be listed", "name one, such as --attn eca"
        )
    from attncli.measure.site_costs import list_site_costs, sum_by_stage
    from attncli.measure.smallest_image import check_backbone_size
    from attncli.model import InputSpec
    from attncli.report.table import render_rows
    from attncli.system.code_reference import is_code_reference

    size = recipe.data.size or (224, 224)
    check_backbone_size(recipe, size)
    costs = list_site_costs(recipe, InputSpec(classes or (1000 if max(size) >= 64 else 10), size))
    stages = sum_by_stage(costs)
    rows = [
        {
            **({"attn": cost.attn} if len({c.attn for c in costs}) > 1 else {}),
            "site": cost.path,
            "stage": cost.stage,
            "channels": cost.channels,
            "map": "x".join(map(str, cost.size)) if cost.size else None,
            "params": cost.params,
        }
        for cost in costs
    ]
    if as_json:
        return echo_json({"sites": rows, "stages": stages})
    tables = [render_rows(table, format_, find_terminal_width()) for table in (rows, stages)]
    echo_result("\n\n".join(table.strip("\n") for table in (tables[:1] if format_ == "csv" else tables)))
    if is_code_reference(recipe.model.backbone) and not recipe.model.block_paths:
        echo_note("other blocks than these: --set 'model.block_paths=[...]', `attncli help backbones`")
    return None
