"""The data of the report, gathered from the finished runs."""

import re
import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from attncli import __version__, records
from attncli.analysis.compare import compare_variants
from attncli.analysis.comparison_row import ComparisonRow
from attncli.analysis.deviation import collect_figures
from attncli.attention import NONE
from attncli.claims.evidence import Evidence
from attncli.claims.verdict import ClaimVerdict
from attncli.literature import published
from attncli.quantities import format_quantity
from attncli.records import Epoch
from attncli.report import claims, comparison, table
from attncli.report.html_report import ReportData, TableOrigin
from attncli.runs import RECIPE, FinishedRun

DEFAULT_TITLE = "Attention mechanisms: claims and runs"


def gather_report_data(
    sources: Sequence[str],
    verdicts: Sequence[ClaimVerdict],
    evidence: Evidence,
    *,
    attn: Sequence[str] = (),
    report_commands: Sequence[str] = (),
    title: str = DEFAULT_TITLE,
    is_literature: bool = True,
) -> ReportData:
    """Gather the report on the runs of the evidence, about these mechanisms (all if none are given).

    Args:
        sources: The folder and the files of results that the runs come from, for the report's first line.
        verdicts: The verdicts to show.
        evidence: What they were judged by, with the finished runs to compare.
        attn: Names of mechanisms.
        report_commands: The commands that make this report again.
        title: Stands above the report.
        is_literature: Whether the claims are those of the literature, or the user's own.
    """
    all_rows = compare_variants(evidence.runs, planned_seeds=evidence.planned_seeds, failures=evidence.failures)
    tables = _select_tables(comparison.group_comparison_rows(all_rows), attn)
    rows = [row for _, part in tables for row in part]
    shown = {row.attn for row in rows} - {NONE} | set(attn)
    published_rows = [row for row in published.load_published_rows() if any(map(row.is_about, shown))]
    now = datetime.now().astimezone()
    return ReportData(
        title=title,
        claims_title="Claims of the literature" if is_literature else "Claims",
        generated_by=f"attncli {__version__}, {now:%d %B %Y, %H:%M %Z}, runs of {', '.join(sources)}",
        verdicts=verdicts,
        rows=rows,
        figures=collect_figures(published_rows, evidence.counts, evidence.runs),
        epochs={title: _read_epochs(part) for title, part in tables},
        origins={title: _describe_table_origin([run for row in part for run in row.runs]) for title, part in tables},
        report_commands=report_commands,
    )


def _select_tables(
    tables: Sequence[tuple[str, list[ComparisonRow]]], attn: Sequence[str]
) -> list[tuple[str, list[ComparisonRow]]]:
    """Return the tables that have one of these mechanisms, each with these and its plain network; all for none."""
    return [
        (title, [row for row in part if not attn or row.attn in (*attn, NONE)])
        for title, part in tables
        if not attn or any(row.attn in attn for row in part)
    ]


def list_report_experiments(report_data: ReportData) -> list[str]:
    """Return the MLflow experiments of the runs that a report shows."""
    return sorted({run.experiment for row in report_data.rows for run in row.runs})


def _read_epochs(rows: Sequence[ComparisonRow]) -> dict[str, list[list[Epoch]]]:
    """Return, by variant, the epochs of every run that has a folder."""
    epochs_by_variant: dict[str, list[list[Epoch]]] = defaultdict(list)
    for row in rows:
        for run in row.runs:
            if run.folder is not None:
                epochs_by_variant[row.variant].append([r for r in records.read(run.folder) if isinstance(r, Epoch)])
    return epochs_by_variant


def _describe_table_origin(runs: Sequence[FinishedRun]) -> TableOrigin:
    """Return the machines, recipe and commands of the runs of one table."""
    machines = dict.fromkeys(_format_machine(run.result.machine) for run in runs if run.result.machine)
    with_folder = [run for run in runs if run.folder is not None]
    if not with_folder:
        return TableOrigin(list(machines), "", [])
    recipe = with_folder[0].recipe
    text = recipe.model_copy(update={"model": recipe.make_baseline().model}).to_yaml()
    commands = [f"attncli run {shlex.quote(f'{run.folder}/{RECIPE}')}" for run in with_folder if not run.is_imported]
    return TableOrigin(list(machines), text, commands)


def _format_machine(machine: Mapping[str, Any]) -> str:
    """Return a machine as one line."""
    parts = [str(machine.get("gpu") or machine.get("cpu"))]
    if machine.get("usable_cpus"):
        parts.append(format_quantity(machine["usable_cpus"], "core"))
    return ", ".join([*parts, f"torch {machine.get('torch')}", f"Python {machine.get('python')}"])


def is_markdown_report(text: str) -> bool:
    """Return whether a text is a report that `render_markdown` made: the version stands below its title."""
    return re.match(r"# [^\n]*\n\nattncli \d", text) is not None


def render_markdown(report_data: ReportData) -> str:
    """Return the report as Markdown: verdicts and comparisons, without figures."""
    parts = [f"# {report_data.title}", report_data.generated_by]
    if report_data.rows:
        parts += ["## Runs", comparison.render_comparison(report_data.rows, "markdown")]
    if report_data.verdicts:
        parts += [
            "## Claims",
            claims.summarize_verdicts(report_data.verdicts),
            table.render_markdown_table(claims.COLUMNS, report_data.verdicts),
            claims.NOTE,
        ]
    return "\n\n".join(parts) + "\n"
