"""`attncli report`: write runs, claims and published figures into one HTML page."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from attncli.commands._completion import complete_backbones, complete_datasets, complete_mechanisms
from attncli.commands._options import (
    open_results_of_others,
    overwrite_line,
    store_options,
    warn_of_unreadable_runs,
    with_option,
)
from attncli.commands._value_types import NAMES

if TYPE_CHECKING:
    from attncli.report.html_report import ReportData
    from attncli.runs import RunStore


@click.command()
@click.option(
    "--attn",
    type=NAMES,
    metavar="NAMES",
    shell_complete=complete_mechanisms,
    help="Only these mechanisms (separated by commas) and their baselines.",
)
@click.option(
    "--backbone",
    metavar="NAME",
    shell_complete=complete_backbones,
    help="Test claims about a larger network on this one.",
)
@click.option(
    "--folder-is",
    metavar="NAME",
    shell_complete=complete_datasets,
    help="The dataset whose images the runs on `folder` used.",
)
@with_option
@click.option("--file", "files", multiple=True, type=click.Path(path_type=Path), help="File with your claims (YAML).")
@click.option("--title", metavar="TEXT", help="Title of the report.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="The file  [default: RUNS/report.html]")
@click.option("--track/--no-track", default=True, help="Add it to the runs' MLflow experiments too (default).")
@store_options
def command(
    attn: list[str] | None,
    backbone: str | None,
    folder_is: str | None,
    with_files: tuple[Path, ...],
    shipped: tuple[str, ...],
    files: tuple[Path, ...],
    title: str | None,
    out: Path | None,
    track: bool,
    runs: Path,
    tracking_uri: str | None,
) -> None:
    """Write a report: comparisons with their plots, the claims with their verdicts, published figures beside ours.

    The report is one HTML file that needs no network and no other file. The same without pictures is written as
    Markdown beside it. Prints the path of the HTML file.

    More in `attncli help claims`.

    \b
    Example:
      attncli report
      attncli report --attn se,eca --backbone resnet20 --out survey.html
      attncli report --with theirs.results --backbone resnet20
    """
    from attncli.claims import claim_files, judge
    from attncli.claims.evidence import add_runs_of_others, gather_evidence
    from attncli.report.report_data import DEFAULT_TITLE, gather_report_data, list_report_experiments
    from attncli.runs import RunStore
    from attncli.system.files import check_writable

    run_store, path = RunStore(runs, tracking_uri), out or runs / "report.html"
    check_writable(path)
    names = attn or []
    evidence = gather_evidence(
        run_store,
        backbone=backbone,
        folder_is=folder_is,
        report_claim=overwrite_line,
        report_unreadable=warn_of_unreadable_runs,
    )
    sources = [f"the folder {runs}"]
    if with_files or shipped:
        sources = [*(sources if evidence.runs else []), *(file.name for file in with_files), *shipped]
        others = open_results_of_others(with_files, shipped)
        evidence, track = add_runs_of_others(evidence, others, folder_is=folder_is, must_match=not shipped), False
    known_claims = claim_files.read_claim_files(files) if files else claim_files.load_claims()
    requested = claim_files.select_claims(known_claims, attn=names)
    verdicts = judge.judge_claims(known_claims, evidence, requested=requested)
    overwrite_line("")
    options = [
        *(("--attn", ",".join(names)), ("--backbone", backbone), ("--folder-is", folder_is), ("--runs", str(runs))),
        *(("--with", str(file)) for file in with_files),
        *(("--shipped", name) for name in shipped),
        *(("--file", str(file)) for file in files),
        ("--title", title),
    ]
    report_data = gather_report_data(
        sources,
        verdicts,
        evidence,
        attn=names,
        report_commands=[_format_command(options)],
        is_literature=not files,
        title=title or DEFAULT_TITLE,
    )
    _write_report(path, report_data)
    if track and report_data.rows:
        _attach_to_experiments(path, list_report_experiments(report_data, evidence.runs), run_store)


def _format_command(options: Sequence[tuple[str, str | None]]) -> str:
    """Return the command that writes the report again; options without a value are left out."""
    words = [word for key, value in options if value for word in (key, value)]
    return shlex.join(["attncli", "report", *words])


def _write_report(path: Path, report_data: "ReportData") -> None:
    """Write the HTML file and the Markdown beside it, and print where they are."""
    from attncli.report.html_report import render_html
    from attncli.report.report_data import render_markdown
    from attncli.system.files import write_atomically

    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, render_html(report_data))
    write_atomically(path.with_suffix(".md"), render_markdown(report_data))
    click.echo(path)
    click.echo(f"the same without pictures: {path.with_suffix('.md')}", err=True)


def _attach_to_experiments(path: Path, experiments: Sequence[str], run_store: "RunStore") -> None:
    """Add the report to MLflow if there is a store; print a warning if the store does not answer."""
    from attncli import track
    from attncli.errors import UserError

    if not run_store.has_store():
        return
    try:
        for experiment in experiments:
            track.attach_to_experiment([path], experiment=experiment, run_store=run_store, kind="report")
    except UserError as error:
        click.echo(f"warning: not in MLflow: {error.problem}", err=True)
