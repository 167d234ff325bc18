"""What the report tells, gathered from the folder of runs."""

import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from attncli import __version__, records
from attncli.attention import NONE
from attncli.records import Epoch
from attncli.report import comparison
from attncli.report.page import Contents, Origin
from attncli.survey import published, results
from attncli.survey.compare import Row, compare
from attncli.survey.deviation import figures
from attncli.survey.evidence import FOLDER, Evidence
from attncli.survey.verdict import Verdict


def contents(
    runs: Path,
    verdicts: Sequence[Verdict],
    evidence: Evidence,
    *,
    uri: str | None = None,
    folder_is: str | None = None,
    attn: Sequence[str] = (),
    again: Sequence[str] = (),
) -> Contents:
    """The report on the runs below `runs` and in the store `uri`, about these mechanisms (all without)."""
    wanted = {*attn, NONE}
    found = [row for row in results.rows(runs, uri) if not attn or row["attn"] in wanted]
    if folder_is is not None:
        found = [row | {"dataset": folder_is} if row["dataset"] == FOLDER else row for row in found]
    rows = compare(found)
    by_id = {row["run_id"]: row for row in found}
    shown = {row.attn for row in rows} - {NONE} | set(attn)
    in_print = [row for row in published.rows() if row.attn in shown]
    now = datetime.now().astimezone()
    return Contents(
        title="Attention mechanisms: claims and runs",
        made=f"attncli {__version__}, {now:%d %B %Y, %H:%M %Z}, runs in {runs}",
        verdicts=verdicts,
        rows=rows,
        figures=figures(in_print, evidence.counts, evidence.runs),
        epochs={title: _epochs(part, by_id) for title, part in comparison.parts(rows)},
        origins={title: _origin(part, by_id) for title, part in comparison.parts(rows)},
        again=again,
    )


def experiments(found: Contents, runs: Path, uri: str | None) -> list[str]:
    """The MLflow experiments of the runs that a report tells of."""
    ids = {run_id for row in found.rows for run_id in row.run_ids}
    return sorted({row["experiment"] for row in results.rows(runs, uri) if row["run_id"] in ids})


def _epochs(rows: Sequence[Row], by_id: Mapping[str, dict[str, Any]]) -> dict[str, list[list[Epoch]]]:
    """The epochs of every run that has a folder, by variant."""
    told: dict[str, list[list[Epoch]]] = defaultdict(list)
    for row in rows:
        for run_id in row.run_ids:
            folder = by_id[run_id].get("folder")
            if folder is not None:
                told[row.variant].append([r for r in records.read(Path(folder)) if isinstance(r, Epoch)])
    return told


def _origin(rows: Sequence[Row], by_id: Mapping[str, dict[str, Any]]) -> Origin:
    """Machines, recipe and commands of the runs of one table."""
    runs = [by_id[run_id] for row in rows for run_id in row.run_ids]
    machines = dict.fromkeys(_machine(run["machine"]) for run in runs if run.get("machine"))
    folders = [Path(run["folder"]) for run in runs if "folder" in run]
    recipe = results.recipe(folders[0]) if folders else None
    if recipe is None:
        return Origin(list(machines), "", [])
    text = recipe.model_copy(update={"model": recipe.baseline().model}).yaml()
    commands = [f"attncli run {shlex.quote(str(folder / results.RECIPE))}" for folder in folders]
    return Origin(list(machines), text, commands)


def _machine(facts: Mapping[str, Any]) -> str:
    """A machine in a line."""
    what = facts.get("gpu") or facts.get("cpu")
    return f"{what}, {facts.get('usable_cpus')} cores, torch {facts.get('torch')}, Python {facts.get('python')}"


def markdown(found: Contents) -> str:
    """The report in Markdown: verdicts and comparisons, without pictures."""
    from attncli.report import claims, table

    parts = [f"# {found.title}", found.made]
    if found.rows:
        parts += ["## Runs", comparison.render(found.rows, "markdown")]
    if found.verdicts:
        parts += [
            "## Claims",
            claims.summary(found.verdicts),
            table.markdown(claims.COLUMNS, found.verdicts),
            claims.NOTE,
        ]
    return "\n\n".join(parts) + "\n"
