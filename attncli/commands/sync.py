"""`attncli sync`: add runs to MLflow that it lacks."""

from pathlib import Path

import click

from attncli.commands._output import echo_json, json_option
from attncli.commands._run_options import store_options
from attncli.quantities import format_quantity


@click.command()
@store_options
@json_option
def command(runs: Path, tracking_uri: str | None, as_json: bool) -> None:
    """Add to the MLflow store what it lacks of the runs in the folder RUNS. Nothing is added twice.

    Use it for runs that were made while the tracking server was away, or after the database was lost.

    More in `attncli help tracking-server`.

    \b
    Example:
      attncli sync --tracking-uri http://127.0.0.1:5000
    """
    from attncli import track

    outcomes = track.sync_runs(track.RunStore(runs, tracking_uri))
    if as_json:
        echo_json([vars(outcome) for outcome in outcomes])
    else:
        for outcome in outcomes:
            outcome_text = (
                outcome.problem
                or f"{outcome.status.lower()}, {'new, ' * outcome.created}points added: {outcome.points}"
            )
            click.echo(f"{outcome.digest}  {outcome_text}")
        click.echo(
            f"{format_quantity(len(outcomes), 'run')} in {runs}, "
            f"{sum(bool(outcome.problem) for outcome in outcomes)} with problems",
            err=True,
        )
    if any(outcome.problem for outcome in outcomes):
        raise SystemExit(1)
