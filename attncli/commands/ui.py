"""`attncli ui`: open the MLflow dashboard on these runs."""

from pathlib import Path

import click

from attncli.commands._run_options import store_options
from attncli.errors import UserError


@click.command()
@store_options
@click.option("--port", type=click.IntRange(0, 65535), default=5000, show_default=True)
@click.option("--check", is_flag=True, help="Start it, check that it answers, and stop it.")
def command(runs: Path, tracking_uri: str | None, port: int, check: bool) -> None:
    """Start the MLflow dashboard on this store, at 127.0.0.1 only. Ctrl-C stops it.

    If the store is an MLflow server, that is the dashboard: its address is printed, and nothing is started.

    More in `attncli help mlflow`.

    \b
    Example:
      attncli ui --port 5001
    """
    from attncli.track import RunStore, dashboard, store

    run_store = RunStore(runs, tracking_uri)
    if store.read_scheme(run_store.resolve_address()) == store.DATABRICKS:
        raise UserError("ui: the store is in Databricks, which shows runs itself", "open its workspace in a browser")
    try:
        dashboard.prepare_views(run_store)
    except UserError:
        raise
    except Exception as error:  # a server may refuse to write; the dashboard works without the views
        click.echo(f"warning: the views could not be written: {error}", err=True)
    is_server = run_store.resolve_address().startswith("http")
    with dashboard.serve_dashboard(run_store, port) as address:
        click.echo(f"dashboard: {address}")
        for title, link in dashboard.list_view_links(address, run_store):
            click.echo(f"  {title:28} {link}")
        if check:
            click.echo("it answers" if is_server else "it answers; stopped again", err=True)
            return
        if is_server:
            click.echo("this server is the dashboard: open its address in a browser", err=True)
            return
        click.echo(
            "MLflow opens its assistant at the right at first: its x closes it for good. Ctrl-C stops it", err=True
        )
        dashboard.wait_for_interrupt()
