"""`attncli report`: runs, claims and published figures on one page that opens anywhere."""

import os
import shlex
from pathlib import Path
from typing import Any

import click

from attncli.commands._options import store_options


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
    from attncli.claims import claim_files, judge
    from attncli.claims.evidence import gather_evidence
    from attncli.records import write_atomically
    from attncli.report.html_report import render_html
    from attncli.report.report_data import gather_report_data, render_markdown

    uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    names = attn.split(",") if attn else []
    evidence = gather_evidence(runs, uri, backbone=backbone, folder_is=folder_is)
    known = claim_files.load_claims()
    verdicts = judge.judge_claims(known, evidence, requested=claim_files.select_claims(known, attn=names))
    filters = {"--attn": attn, "--backbone": backbone, "--folder-is": folder_is, "--runs": str(runs)}
    report_command = shlex.join(
        ["attncli", "report", *(w for key, value in filters.items() if value for w in (key, value))]
    )
    report_data = gather_report_data(
        runs, verdicts, evidence, uri=uri, folder_is=folder_is, attn=names, report_commands=[report_command]
    )
    path = out or runs / "report.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, render_html(report_data))
    write_atomically(path.with_suffix(".md"), render_markdown(report_data))
    click.echo(path)
    if track and report_data.rows:
        _attach_to_experiments(path, report_data, runs, uri)


def _attach_to_experiments(path: Path, report_data: Any, runs: Path, uri: str | None) -> None:
    """Into MLflow, where there is a store; one that does not answer costs a warning."""
    from attncli import track
    from attncli.errors import UserError
    from attncli.report.report_data import list_report_experiments

    if uri is None and not (runs / "mlflow.db").exists():
        return
    try:
        for experiment in list_report_experiments(report_data, runs, uri):
            track.attach_to_experiment([path], experiment=experiment, runs=runs, uri=uri, kind="report")
    except UserError as error:
        click.echo(f"warning: not in MLflow: {error.problem}", err=True)
