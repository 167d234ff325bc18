"""What the commands of `attncli data` share: their options, and the dataset that these name."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from attncli.commands._completion import complete_datasets, complete_recipes
from attncli.commands._option_groups import F, apply_options
from attncli.commands._recipe_options import image_size_option, read_recipe
from attncli.commands._run_options import make_runs_option
from attncli.errors import UserError

if TYPE_CHECKING:
    from attncli.data.dataset import Dataset
    from attncli.recipe import Recipe

name_argument = click.argument("name", metavar="[NAME]", required=False, shell_complete=complete_datasets)
root_option = click.option("--data-root", metavar="DIR", help="Folder that holds the files, or gets them.")
runs_option = make_runs_option("Folder of the runs; its cache/ holds the decoded images.", may_be_new=True)
_DATASET_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    name_argument,
    click.option(
        "--recipe",
        type=click.Path(path_type=Path),
        metavar="FILE",
        shell_complete=complete_recipes,
        help="Recipe with the data section, by name or file.",
    ),
    root_option,
    image_size_option,
    click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Set any key; the last one wins."),
)


def dataset_options(command: F) -> F:
    """Add the options that describe a dataset; `read_dataset_recipe` makes a Recipe of what click passes on."""
    return apply_options(_DATASET_OPTIONS, command)


def read_dataset_recipe(name: str | None, options: dict[str, Any]) -> "Recipe":
    """Return the recipe of a dataset's name, or of a recipe file, with the options applied.

    Raises UserError if neither is given.
    """
    file = options.pop("recipe")
    if name is None and file is None:
        raise UserError("no dataset named", "`attncli data ls` lists them; --recipe FILE takes that of a recipe")
    from attncli.data import check_data_root

    recipe = read_recipe({"recipe": (file,) if file else (), "dataset": name, **options})
    check_data_root(recipe.data)
    return recipe


def load_dataset(recipe: "Recipe", runs: Path) -> "Dataset":
    """Load the dataset with progress on stderr; imports torch."""
    from attncli import data
    from attncli.report.run_progress import RunProgress

    with RunProgress() as progress:
        return data.load(recipe.resolve_data(), cache=runs / "cache", progress=progress.on_reading)
