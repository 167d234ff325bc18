"""A sweep in words: its plan before, how it ended after."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attncli.jobs import Ended, Plan
from attncli.jobs.event import LOG
from attncli.report.live import clock
from attncli.report.table import Column, text

Line = tuple[int, str, str, str, str]


def planned(plan: Plan) -> str:
    """The plan as a table: every run in its order, and what is left to do."""
    columns = [
        Column[Line]("", lambda row: str(row[0])),
        Column[Line]("run", lambda row: row[1], right=False),
        Column[Line]("", lambda row: row[2], right=False),
        Column[Line]("about", lambda row: row[3]),
        Column[Line]("by", lambda row: row[4], right=False),
    ]
    rows = []
    for number, run in enumerate(plan.runs, 1):
        status = "finished" if run.finished else "begun" if run.begun else ""
        about = "" if run.finished else "unknown" if run.seconds is None else clock(run.seconds)
        rows.append((number, run.title, status, about, run.estimate.by if run.estimate else ""))
    return f"{text(columns, rows)}\n{left(plan)}"


def left(plan: Plan) -> str:
    """What is left of a plan, in a line."""
    todo = len(plan.todo)
    told = f"{plan.name}: {len(plan.runs)} runs, {len(plan.runs) - todo} finished"
    if not todo:
        return told
    seconds, unknown = plan.seconds()
    if unknown == todo:
        return f"{told}; how long the others take is unknown (no finished run is like them, no speed is cached)"
    more = f", and {unknown} of which nothing is known" if unknown else ""
    by = ", ".join(f"{name}: {count}" for name, count in plan.known_by().items())
    return f"{told}; about {clock(seconds)} for {todo - unknown} ({by}){more}, timings included"


def ended(plan: Plan, failures: Sequence[Ended], runs: Path, *, stopped: str = "") -> str:
    """How a sweep ended: counts, every failure with its log, and what to do next."""
    undone = len(failures)
    lines = [f"{plan.name}: {len(plan.runs)} runs, {len(plan.runs) - undone} finished"]
    if stopped:
        lines = [f"{plan.name}: {stopped}; the same command goes on"]
    told = [f for f in failures if f.status == "FAILED" or not stopped]
    for failure in told:
        lines.append(f"  {failure.status.lower()}: {failure.task.title}: {failure.problem}")
        lines.append(f"    log: {runs / failure.task.digest / LOG}")
        if failure.hint:
            lines.append(f"    hint: {failure.hint}")
    if failures and not stopped:
        lines.append("the same command does again what failed, and nothing else")
    elif not failures and not stopped:
        lines.append(f"Next: {compare(plan, runs)}")
    return "\n".join(lines)


def plain(plan: Plan, failures: Sequence[Ended], runs: Path) -> dict[str, Any]:
    """The runs and the failures for JSON."""
    return {
        "sweep": plan.name,
        "runs": [run.plain() for run in plan.runs],
        "failures": [
            {
                "digest": f.task.digest,
                "title": f.task.title,
                "status": f.status.lower(),
                "problem": f.problem,
                "hint": f.hint,
                "log": str(runs / f.task.digest / LOG),
            }
            for f in failures
        ],
    }


def compare(plan: Plan, runs: Path) -> str:
    """The command that compares the runs."""
    words = ["attncli", "compare"]
    datasets = {run.recipe.data.name for run in plan.runs}
    backbones = {run.recipe.model.backbone for run in plan.runs}
    words += ["--dataset", *datasets] if len(datasets) == 1 else []
    words += ["--backbone", *backbones] if len(backbones) == 1 else []
    return shlex.join(words + (["--runs", str(runs)] if str(runs) != "runs" else []))
