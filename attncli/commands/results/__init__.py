"""`attncli results`: finished runs in one small file, to compare them on another machine."""

import click

from attncli.commands._group import CommandFolder


@click.group(cls=CommandFolder, package=__name__, order=("export",))
def command() -> None:
    """Write finished runs to one small file; `attncli compare --with FILE` and `attncli report --with FILE` read it.

    More in `attncli help trained-networks`.

    \b
    Example:
      attncli results export mine.zip
      attncli compare --with theirs.zip
    """
