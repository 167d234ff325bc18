"""`attncli bench`: how fast attncli itself is, as ratios."""

import click

from attncli.commands._group import CommandFolder


@click.group(cls=CommandFolder, package=__name__, order=("train", "eval", "data", "start", "blocks"))
def command() -> None:
    """Measure how fast attncli's own code is, as ratios taken in one run on this machine.

    More in `attncli help benchmarks`.

    \b
    Example:
      attncli bench train --backbone resnet20 --attn none --steps 10 --rounds 3
      attncli bench eval --backbone resnet20
      attncli bench data
      attncli bench start
      attncli bench blocks --attn se,eca,cbam
    """
