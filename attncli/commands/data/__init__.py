"""`attncli data`: list, prepare, verify and show datasets."""

import click

from attncli.commands._group import CommandFolder


@click.group(cls=CommandFolder, package=__name__, order=("ls", "prepare", "verify", "show"))
def command() -> None:
    """List, prepare, verify and show datasets.

    More in `attncli help data`.

    \b
    Example:
      attncli data ls
      attncli data prepare imagenette --image-size 224
      attncli data verify imagenette
      attncli data show imagenette --image-size 224 --set data.crop=resized
    """
