"""`attncli data show`: draw training images as a network sees them."""

from pathlib import Path
from typing import Any

import click

from attncli.commands._output import echo_json, json_option
from attncli.commands._value_types import SEED
from attncli.commands.data._dataset import dataset_options, load_dataset, read_dataset_recipe, runs_option


@click.command()
@dataset_options
@runs_option
@click.option("--images", type=click.IntRange(1, 256), default=32, show_default=True, help="Images on the sheet.")
@click.option("--epoch", type=click.IntRange(1), default=1, show_default=True, help="As this epoch sees them.")
@click.option("--seed", type=SEED, metavar="N", help="As runs with this seed see them  [default: the recipe's, else 0]")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="The file  [default: NAME.png]")
@json_option
def command(
    name: str | None, runs: Path, images: int, epoch: int, out: Path | None, as_json: bool, **options: Any
) -> None:
    """Draw training images with their labels as a network sees them: cropped, mirrored, augmented, mixed.

    More in `attncli help data`.

    \b
    Example:
      attncli data show digits
      attncli data show --recipe imagenette-resnet18 --set data.policy=trivial --set data.cutmix=1
    """
    from attncli.report.contact_sheet import draw_contact_sheet
    from attncli.report.style import choose_figure_format

    if out is not None:
        choose_figure_format(out)  # an error, if it is none, before the work is done
    recipe = read_dataset_recipe(name, options)
    dataset = load_dataset(recipe, runs)
    from attncli.data.preview import draw_preview
    from attncli.system.files import make_file_name
    from attncli.track.tags import name_images

    samples = draw_preview(dataset, images, recipe, epoch=epoch - 1)
    labels = [sample.label for sample in samples]
    path = out or Path(f"{make_file_name(dataset.name)}.png")
    title = f"{name_images(recipe)}, seed {recipe.seed}, epoch {epoch}"
    draw_contact_sheet([sample.image for sample in samples], labels, title, path)
    return echo_json({"file": str(path), "labels": labels}) if as_json else click.echo(str(path))
