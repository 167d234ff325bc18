"""`attncli sync`: bring runs into MLflow that it lacks."""

from pathlib import Path

import click

from attncli.commands.options import echo_json, json_option, store_options


@click.command()
@store_options
@json_option
def command(runs: Path, tracking_uri: str | None, as_json: bool) -> None:
    """Bring every run of the folder RUNS into the MLflow store: what it lacks is added, nothing is doubled.

    For runs that were made while the tracking server was away, or after the database was lost.

    \b
    Example:
      attncli sync --tracking-uri http://127.0.0.1:5000
    """
    from attncli import track

    done = track.sync(runs, tracking_uri)
    if as_json:
        echo_json([vars(d) for d in done])
    else:
        for d in done:
            told = d.problem or f"{d.status.lower()}, {'new, ' if d.created else ''}{d.points} points added"
            click.echo(f"{d.digest}  {told}")
        click.echo(f"{len(done)} runs in {runs}, {sum(bool(d.problem) for d in done)} with problems", err=True)
    if any(d.problem for d in done):
        raise SystemExit(1)
