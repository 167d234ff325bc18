"""What the report tells, gathered from the folder of runs."""

import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from attncli import __version__, records
from attncli.analysis import results
from attncli.analysis.compare import ComparisonRow, compare_variants
from attncli.attention import NONE
from attncli.claims.evidence import FOLDER_DATASET, Evidence
from attncli.claims.verdict import ClaimVerdict
from attncli.literature import published
from attncli.literature.deviation import collect_figures
from attncli.records import Epoch
from attncli.report import comparison
from attncli.report.html_report import ReportData, TableOrigin


def gather_report_data(
    runs: Path,
    verdicts: Sequence[ClaimVerdict],
    evidence: Evidence,
    *,
    uri: str | None = None,
    folder_is: str | None = None,
    attn: Sequence[str] = (),
    report_commands: Sequence[str] = (),
) -> ReportData:
    """The report on the runs below `runs` and in the store `uri`, about these mechanisms (all without)."""
    shown_mechanisms = {*attn, NONE}
    run_rows = [row for row in results.read_result_rows(runs, uri) if not attn or row["attn"] in shown_mechanisms]
    if folder_is is not None:
        run_rows = [row | {"dataset": folder_is} if row["dataset"] == FOLDER_DATASET else row for row in run_rows]
    rows = compare_variants(run_rows)
    by_id = {row["run_id"]: row for row in run_rows}
    shown = {row.attn for row in rows} - {NONE} | set(attn)
    published_rows = [row for row in published.load_published_rows() if row.attn in shown]
    now = datetime.now().astimezone()
    return ReportData(
        title="Attention mechanisms: claims and runs",
        generated_by=f"attncli {__version__}, {now:%d %B %Y, %H:%M %Z}, runs in {runs}",
        verdicts=verdicts,
        rows=rows,
        figures=collect_figures(published_rows, evidence.counts, evidence.runs),
        epochs={title: _read_epochs(part, by_id) for title, part in comparison.group_comparison_rows(rows)},
        origins={title: _describe_table_origin(part, by_id) for title, part in comparison.group_comparison_rows(rows)},
        report_commands=report_commands,
    )


def list_report_experiments(report_data: ReportData, runs: Path, uri: str | None) -> list[str]:
    """The MLflow experiments of the runs that a report tells of."""
    ids = {run_id for row in report_data.rows for run_id in row.run_ids}
    return sorted({row["experiment"] for row in results.read_result_rows(runs, uri) if row["run_id"] in ids})


def _read_epochs(rows: Sequence[ComparisonRow], by_id: Mapping[str, dict[str, Any]]) -> dict[str, list[list[Epoch]]]:
    """The epochs of every run that has a folder, by variant."""
    epochs_by_variant: dict[str, list[list[Epoch]]] = defaultdict(list)
    for row in rows:
        for run_id in row.run_ids:
            folder = by_id[run_id].get("folder")
            if folder is not None:
                epochs_by_variant[row.variant].append([r for r in records.read(Path(folder)) if isinstance(r, Epoch)])
    return epochs_by_variant


def _describe_table_origin(rows: Sequence[ComparisonRow], by_id: Mapping[str, dict[str, Any]]) -> TableOrigin:
    """Machines, recipe and commands of the runs of one table."""
    runs = [by_id[run_id] for row in rows for run_id in row.run_ids]
    machines = dict.fromkeys(_format_machine(run["machine"]) for run in runs if run.get("machine"))
    folders = [Path(run["folder"]) for run in runs if "folder" in run]
    recipe = results.read_folder_recipe(folders[0]) if folders else None
    if recipe is None:
        return TableOrigin(list(machines), "", [])
    text = recipe.model_copy(update={"model": recipe.make_baseline().model}).to_yaml()
    commands = [f"attncli run {shlex.quote(str(folder / results.RECIPE))}" for folder in folders]
    return TableOrigin(list(machines), text, commands)


def _format_machine(machine: Mapping[str, Any]) -> str:
    """A machine in a line."""
    processor = machine.get("gpu") or machine.get("cpu")
    return (
        f"{processor}, {machine.get('usable_cpus')} cores, torch {machine.get('torch')}, Python {machine.get('python')}"
    )


def render_markdown(report_data: ReportData) -> str:
    """The report in Markdown: verdicts and comparisons, without pictures."""
    from attncli.report import claims, table

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
