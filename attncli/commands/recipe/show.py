"""`attncli recipe show`: print a recipe or sweep as it is written."""

from pathlib import Path

import click

from attncli.commands._completion import complete_recipe_files
from attncli.commands._recipe_options import find_any_recipe
from attncli.system.files import read_user_text


@click.command()
@click.argument("name", shell_complete=complete_recipe_files)
def command(name: str) -> None:
    """Print the file of a recipe or sweep, comments included.

    `attncli check NAME` prints a recipe with all of its defaults.

    More in `attncli help concepts`.

    \b
    Example:
      attncli recipe show cifar
    """
    click.echo(read_user_text(find_any_recipe(Path(name)), "`attncli recipe ls` lists them"), nl=False)
