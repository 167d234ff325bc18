"""`attncli report`: runs, claims and published figures on one page that opens anywhere."""

import os
import shlex
from pathlib import Path
from typing import Any

import click

from attncli.commands.options import store_options


@click.command()
@click.option("--attn", metavar="NAMES", help="Only these mechanisms (with commas) and their baselines.")
@click.option("--backbone", metavar="NAME", help="Test what is claimed of a larger network on this one.")
@click.option("--folder-is", metavar="NAME", help="The dataset whose images the runs on `folder` used.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="The file  [default: RUNS/report.html]")
@click.option("--track/--no-track", default=True, help="Put it into the runs' MLflow experiments too.")
@store_options
def command(
    attn: str | None,
    backbone: str | None,
    folder_is: str | None,
    out: Path | None,
    track: bool,
    runs: Path,
    tracking_uri: str | None,
) -> None:
    """Write a report: comparisons with their plots, every claim with its verdict, published figures beside ours.

    One HTML file that needs no network and nothing beside it; the same without pictures as Markdown. Prints its path.

    \b
    Example:
      attncli report
      attncli report --attn se,eca --backbone resnet20 --out survey.html
    """
    from attncli.records import write_atomically
    from attncli.report.contents import contents, markdown
    from attncli.report.page import html
    from attncli.survey import claims, judge
    from attncli.survey.evidence import gather

    uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    names = attn.split(",") if attn else []
    evidence = gather(runs, uri, backbone=backbone, folder_is=folder_is)
    known = claims.claims()
    verdicts = judge.judge(known, evidence, wanted=claims.chosen(known, attn=names))
    words = {"--attn": attn, "--backbone": backbone, "--folder-is": folder_is, "--runs": str(runs)}
    again = shlex.join(["attncli", "report", *(w for key, value in words.items() if value for w in (key, value))])
    found = contents(runs, verdicts, evidence, uri=uri, folder_is=folder_is, attn=names, again=[again])
    path = out or runs / "report.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, html(found))
    write_atomically(path.with_suffix(".md"), markdown(found))
    click.echo(path)
    if track and found.rows:
        _attach(path, found, runs, uri)


def _attach(path: Path, found: Any, runs: Path, uri: str | None) -> None:
    """Into MLflow, where there is a store; one that does not answer costs a warning."""
    from attncli import track
    from attncli.errors import UserError
    from attncli.report.contents import experiments

    if uri is None and not (runs / "mlflow.db").exists():
        return
    try:
        for experiment in experiments(found, runs, uri):
            track.attach([path], experiment=experiment, runs=runs, uri=uri, kind="report")
    except UserError as error:
        click.echo(f"warning: not in MLflow: {error.problem}", err=True)
