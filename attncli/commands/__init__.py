"""The command line: one file per command, found by file name, imported when it is called."""

import click

from attncli import __version__
from attncli.commands._group import CommandFolder

_ORDER = (
    "run", "measure", "sites", "compare", "look", "eval", "predict", "export", "sweep", "claims", "published", "report",
    "ls", "show", "recipe", "check", "data", "results", "rm",
    "ui", "sync", "doctor", "bench", "help", "completion",
)  # fmt: skip


@click.group(
    cls=CommandFolder,
    package=__name__,
    order=_ORDER,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, "-V", "--version", prog_name="attncli")
def cli() -> None:
    """Fair, fast ablations of attention blocks for image classification.

    Train a backbone with an attention mechanism at its paper's site, measure what the mechanism costs compared with
    the same network without it, and compare the runs in MLflow.

    Exit codes: 0 success, 1 a run failed, 2 bad input, 3 a bug in attncli, 130 interrupted.

    More in `attncli help start`; `attncli help` lists all topics.

    \b
    Example:
      attncli run --attn eca --backbone resnet18
      attncli compare
    """
