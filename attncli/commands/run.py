"""`attncli run`: train one recipe, measure it, track it."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from attncli.commands.options import echo_json, json_option, read_recipe, recipe_options, store_options


@click.command()
@recipe_options
@click.option("--resume/--fresh", default=True, help="Go on with an unfinished run (default), or start it anew.")
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
@store_options
@json_option
def command(resume: bool, quiet: bool, runs: Path, tracking_uri: str | None, as_json: bool, **given: Any) -> None:
    """Train a network with an attention mechanism, measure its overhead, and track it in MLflow.

    RECIPE is a YAML file (or a name in recipes/); without one the defaults hold: resnet18 on the embedded digits.
    A run is named by the digest of its recipe: called again, a finished one is shown and an unfinished one goes on.

    \b
    Example:
      attncli run --attn eca --backbone resnet18
      attncli run recipes/cifar10-resnet20.yaml --attn cbam --seed 3 --set train.lr=0.05
    """
    recipe = read_recipe(given)
    from attncli.report.live import Live
    from attncli.report.picture import decorate
    from attncli.report.summary import summary
    from attncli.run import run

    with Live(quiet) as live:
        result = run(recipe, runs=runs, uri=tracking_uri, watch=live, fresh=not resume, decorate=decorate)
    if as_json:
        return echo_json(asdict(result))
    click.echo(summary(result, runs))
    return None
