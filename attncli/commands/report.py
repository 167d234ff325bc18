"""`attncli report`: runs, claims and published figures on one page that opens anywhere."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from attncli.commands._options import store_options

if TYPE_CHECKING:
    from attncli.runs import RunStore


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
    from attncli.report.html_report import render_html
    from attncli.report.report_data import gather_report_data, list_report_experiments, render_markdown
    from attncli.runs import RunStore
    from attncli.system.files import write_atomically

    run_store = RunStore(runs, tracking_uri)
    names = attn.split(",") if attn else []
    evidence = gather_evidence(run_store, backbone=backbone, folder_is=folder_is)
    known = claim_files.load_claims()
    verdicts = judge.judge_claims(known, evidence, requested=claim_files.select_claims(known, attn=names))
    filters = {"--attn": attn, "--backbone": backbone, "--folder-is": folder_is, "--runs": str(runs)}
    report_command = shlex.join(
        ["attncli", "report", *(w for key, value in filters.items() if value for w in (key, value))]
    )
    report_data = gather_report_data(run_store, verdicts, evidence, attn=names, report_commands=[report_command])
    path = out or runs / "report.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, render_html(report_data))
    write_atomically(path.with_suffix(".md"), render_markdown(report_data))
    click.echo(path)
    if track and report_data.rows:
        _attach_to_experiments(path, list_report_experiments(report_data, evidence.runs), run_store)


def _attach_to_experiments(path: Path, experiments: Sequence[str], run_store: "RunStore") -> None:
    """Put the report into MLflow if there is a store; one that does not answer costs a warning."""
    from attncli import track
    from attncli.errors import UserError

    if not run_store.has_store():
        return
    try:
        for experiment in experiments:
            track.attach_to_experiment([path], experiment=experiment, run_store=run_store, kind="report")
    except UserError as error:
        click.echo(f"warning: not in MLflow: {error.problem}", err=True)
