"""`attncli report`: write runs, claims and published figures into one HTML page."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from attncli.commands._claim_options import (
    add_results_of_others,
    claim_backbone_option,
    claim_files_option,
    read_known_claims,
)
from attncli.commands._completion import complete_mechanisms
from attncli.commands._output import echo_note, overwrite_line
from attncli.commands._run_options import (
    alone_option,
    choose_output_folder,
    folder_is_option,
    results_of_others_options,
    store_options,
    warn_of_unreadable_runs,
)
from attncli.commands._value_types import NAMES

if TYPE_CHECKING:
    from attncli.claims.claim_files import Claim
    from attncli.claims.evidence import Evidence
    from attncli.report.html_report import ReportData
    from attncli.runs import FinishedRun, RunStore


@click.command()
@click.option(
    "--attn",
    type=NAMES,
    metavar="NAMES",
    shell_complete=complete_mechanisms,
    help="Only these mechanisms (separated by commas) and their baselines.",
)
@claim_backbone_option
@folder_is_option
@results_of_others_options
@alone_option
@claim_files_option
@click.option("--title", metavar="TEXT", help="Title of the report.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file  [default: RUNS/report.html; report.html if there is no RUNS]",
)
@click.option("--track/--no-track", default=True, help="Add it to the runs' MLflow experiments too (default).")
@store_options
def command(
    attn: list[str] | None,
    backbone: str | None,
    folder_is: str | None,
    with_files: tuple[Path, ...],
    shipped: tuple[str, ...],
    alone: bool,
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
    from attncli.report.report_data import list_report_experiments
    from attncli.runs import RunStore

    run_store, path = RunStore(runs, tracking_uri), out or choose_output_folder(runs) / "report.html"
    _check_output(path)
    own_evidence = _gather_own_evidence(run_store, backbone, folder_is)
    evidence = add_results_of_others(own_evidence, with_files, shipped, folder_is, alone)
    has_others = bool(with_files or shipped)
    is_own_named = not alone and bool(own_evidence.runs or not has_others)
    sources = [*([f"the folder {runs}"] if is_own_named else []), *(file.name for file in with_files), *shipped]
    report_data = _gather_data(evidence, sources, attn or [], files, title)
    overwrite_line("")
    _write_report(path, report_data)
    if track and report_data.rows and not has_others:
        _attach_to_experiments(path, list_report_experiments(report_data), run_store)


def _check_output(path: Path) -> None:
    """Raise UserError if the report cannot be written here, or its Markdown would replace another file."""
    from attncli.errors import UserError
    from attncli.report.report_data import is_markdown_report
    from attncli.system.files import check_writable

    if path.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"{path}: the report is an HTML page", "end it in .html; its Markdown is written beside it")
    check_writable(path)
    markdown = path.with_suffix(".md")
    if markdown.is_file() and not is_markdown_report(markdown.read_text(encoding="utf-8", errors="replace")):
        raise UserError(f"{markdown}: no report, and this one would replace it", "give another file: --out")


def _gather_own_evidence(run_store: "RunStore", backbone: str | None, folder_is: str | None) -> "Evidence":
    """Return what one's own runs say, with progress on stderr."""
    from attncli.claims.evidence import gather_evidence

    return gather_evidence(
        run_store,
        backbone=backbone,
        folder_is=folder_is,
        report_step=overwrite_line,
        report_unreadable=warn_of_unreadable_runs,
    )


def _gather_data(
    evidence: "Evidence", sources: Sequence[str], names: Sequence[str], files: Sequence[Path], title: str | None
) -> "ReportData":
    """Return what the report shows of the mechanisms of these names, or of all: claims with verdicts, and comparisons.

    Raises CollectedError for mechanisms without claims and runs.
    """
    from attncli.claims import judge
    from attncli.report.report_data import DEFAULT_TITLE, gather_report_data
    from attncli.system.code_reference import label_mechanism_name

    mechanisms, known_claims = list(map(label_mechanism_name, names)), read_known_claims(files)
    requested = _select_claims(known_claims, mechanisms, evidence.runs)
    return gather_report_data(
        sources,
        judge.judge_claims(known_claims, evidence, requested=requested),
        evidence,
        attn=mechanisms,
        report_commands=[_format_command(click.get_current_context().params)],
        is_literature=not files,
        title=title or DEFAULT_TITLE,
    )


def _select_claims(
    known_claims: "Sequence[Claim]", mechanisms: Sequence[str], finished_runs: "Sequence[FinishedRun]"
) -> "list[Claim]":
    """Return the claims about these mechanisms, all without names; the user's own have runs, and no claims.

    Raises CollectedError for mechanisms that have neither.
    """
    from attncli.claims.claim_files import select_claims

    claimed, trained = {claim.card for claim in known_claims}, {run.result.attn for run in finished_runs}
    names = [name for name in mechanisms if name in claimed or name not in trained]
    return select_claims(known_claims, attn=names) if names or not mechanisms else []


def _format_command(values: Mapping[str, Any]) -> str:
    """Return the command that writes the report again, by the values of its options; those without one are left out."""
    from attncli.track.store_errors import redact_address

    options = [
        ("--attn", ",".join(values["attn"] or ())),
        ("--backbone", values["backbone"]),
        ("--folder-is", values["folder_is"]),
        ("--runs", "" if values["alone"] else str(values["runs"])),
        ("--tracking-uri", redact_address(values["tracking_uri"] or "")),
        *(("--with", str(file)) for file in values["with_files"]),
        *(("--shipped", name) for name in values["shipped"]),
        *(("--file", str(file)) for file in values["files"]),
        ("--title", values["title"]),
    ]
    words = [word for name, value in options if value for word in (name, value)]
    return shlex.join(["attncli", "report", *words, *(["--alone"] if values["alone"] else [])])


def _write_report(path: Path, report_data: "ReportData") -> None:
    """Write the HTML file and the Markdown beside it, and print where they are."""
    from attncli.report.html_report import render_html
    from attncli.report.report_data import render_markdown
    from attncli.system.files import write_atomically

    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, render_html(report_data))
    write_atomically(path.with_suffix(".md"), render_markdown(report_data))
    click.echo(path)
    echo_note(f"the same without pictures: {path.with_suffix('.md')}")


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
        echo_note(f"warning: not in MLflow: {error.problem}")
