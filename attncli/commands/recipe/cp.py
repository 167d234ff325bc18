"""`attncli recipe cp`: copy a recipe or sweep into recipes/, to change it."""

from pathlib import Path

import click

from attncli.commands._completion import complete_recipe_files
from attncli.commands._recipe_options import find_any_recipe
from attncli.errors import UserError


@click.command()
@click.argument("name", shell_complete=complete_recipe_files)
@click.argument("target", required=False, type=click.Path(path_type=Path))
def command(name: str, target: Path | None) -> None:
    """Copy a recipe or sweep to TARGET, by default into recipes/ of the current folder. No file is overwritten.

    A copy in recipes/ is used instead of the original as soon as it is there; under another name, TARGET, both are.

    More in `attncli help concepts`.

    \b
    Example:
      attncli recipe cp cifar
      attncli recipe cp cifar recipes/mine.yaml
    """
    from attncli.recipe.library import OWN_FOLDER, list_recipe_files
    from attncli.system.files import write_atomically

    source = find_any_recipe(Path(name))
    folder = OWN_FOLDER / "sweeps" if list_recipe_files("sweep").get(name) == source else OWN_FOLDER
    path = target or folder / source.name
    if path.exists():
        raise UserError(f"{path} exists", "give another name: attncli recipe cp NAME TARGET")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, source.read_bytes())
    except OSError as error:
        raise UserError(f"{error.filename or path}: {error.strerror}", "give a path that can be written") from error
    click.echo(path)
