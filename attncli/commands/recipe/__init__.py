"""`attncli recipe`: list, print and copy recipes and sweeps."""

import click

from attncli.commands._group import CommandFolder


@click.group(cls=CommandFolder, package=__name__, order=("ls", "show", "cp"))
def command() -> None:
    """List, print and copy the recipes and sweeps that attncli brings, and those in your folder recipes/.

    A name is looked up in recipes/ of the current folder first. `attncli check NAME` prints a recipe with all of its
    defaults.

    More in `attncli help concepts`.

    \b
    Example:
      attncli recipe ls
      attncli recipe show cifar
      attncli recipe cp cifar
    """
