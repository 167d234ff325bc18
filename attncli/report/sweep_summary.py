"""Summaries of a sweep: the plan before it starts, the outcome at its end."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attncli.jobs import SweepPlan, TaskEnded
from attncli.jobs.events import OUTPUT_LOG
from attncli.quantities import format_quantity
from attncli.report.comparison import wrap_text
from attncli.report.run_progress import format_duration
from attncli.report.table import WIDTH, Column, render_text_table
from attncli.runs import RunStore, list_store_options
from attncli.track.tags import name_images

PlanLine = tuple[int, str, str, str, str]


def render_plan(plan: SweepPlan, width: int = WIDTH) -> str:
    """Return the plan as a table of the runs in their order, and what is left to do."""
    columns = [
        Column[PlanLine]("", lambda row: str(row[0])),
        Column[PlanLine]("run", lambda row: row[1], right=False),
        Column[PlanLine]("", lambda row: row[2], right=False),
        Column[PlanLine]("about", lambda row: row[3]),
        Column[PlanLine]("by", lambda row: row[4], right=False),
    ]
    rows = []
    for number, run in enumerate(plan.runs, 1):
        finished = "finished elsewhere" if run.is_elsewhere else "finished"
        status = finished if run.is_finished else "begun" if run.has_checkpoint else ""
        about = (
            ""
            if run.is_finished
            else "unknown"
            if run.expected_seconds is None
            else format_duration(run.expected_seconds)
        )
        rows.append((number, run.title, status, about, run.estimate.basis if run.estimate else ""))
    columns = [column for column in columns if any(map(column.cell, rows))]
    return f"{render_text_table(columns, rows, width=width, keys=(1,))}\n{wrap_text(format_remaining(plan), width)}"


def describe_plan_images(plan: SweepPlan) -> list[str]:
    """Return a line for each choice of images among the unfinished runs: what is there, or that it is to be fetched.

    Raises UserError for images that a run refuses.
    """
    from attncli.data import describe_images

    recipes = {run.recipe.data.model_dump_json(): run.recipe for run in plan.unfinished_runs}
    lines = [f"images of {name_images(recipe)}: {describe_images(recipe.data)}" for recipe in recipes.values()]
    return list(dict.fromkeys(lines))


def format_remaining(plan: SweepPlan) -> str:
    """Return in one line what is left of a plan."""
    unfinished = len(plan.unfinished_runs)
    progress = f"{plan.name}: {format_quantity(len(plan.runs), 'run')}, {len(plan.runs) - unfinished} finished"
    if not unfinished:
        return progress
    seconds, unknown = plan.estimate_seconds()
    if unknown == unfinished:
        return f"{progress}; how long the others take is unknown (no similar finished run, no cached speed)"
    more = f", and {unknown} of unknown duration" if unknown else ""
    by = ", ".join(f"{name}: {count}" for name, count in plan.count_estimates().items())
    return f"{progress}; about {format_duration(seconds)} for {unfinished - unknown} ({by}){more}, timings included"


def render_sweep_end(
    plan: SweepPlan,
    failures: Sequence[TaskEnded],
    run_store: RunStore,
    *,
    stopped: str = "",
    sweep: str | None = None,
) -> str:
    """Return how a sweep ended: counts, every failure with its log, and what to do next.

    Args:
        plan: the sweep.
        failures: the runs that did not finish.
        run_store: where the runs and their MLflow store are.
        stopped: why the sweep ended early, "" if it did not.
        sweep: the name or file that gives the same plan again, or None if the command changed it.
    """
    unfinished = len(failures)
    lines = [f"{plan.name}: {format_quantity(len(plan.runs), 'run')}, {len(plan.runs) - unfinished} finished"]
    if stopped:
        lines = [f"{plan.name}: {stopped}; the same command resumes"]
    reported_failures = [f for f in failures if f.status == "FAILED" or not stopped]
    for failure in reported_failures:
        lines.append(f"  {failure.status.lower()}: {failure.task.title}: {failure.problem}")
        lines.append(f"    log: {run_store.runs / failure.task.digest / OUTPUT_LOG}")
        if failure.hint:
            lines.append(f"    hint: {failure.hint}")
    if failures and not stopped:
        lines.append("the same command runs again what failed, and nothing else")
    elif not failures and not stopped:
        lines.append(f"Next: {build_compare_command(plan, run_store, sweep)}")
    return "\n".join(lines)


def build_sweep_dict(plan: SweepPlan, failures: Sequence[TaskEnded], runs: Path) -> dict[str, Any]:
    """Return the runs and the failures for JSON."""
    return {
        "sweep": plan.name,
        "runs": [run.to_json_dict() for run in plan.runs],
        "failures": [
            {
                "digest": f.task.digest,
                "title": f.task.title,
                "status": f.status.lower(),
                "problem": f.problem,
                "hint": f.hint,
                "log": str(runs / f.task.digest / OUTPUT_LOG),
            }
            for f in failures
        ],
    }


def build_compare_command(plan: SweepPlan, run_store: RunStore, sweep: str | None = None) -> str:
    """Return the command that compares the runs: those of the sweep, or else of its dataset and backbone."""
    words = ["attncli", "compare"]
    if sweep is not None:
        return shlex.join([*words, "--sweep", sweep, *list_store_options(run_store)])
    datasets = {name_images(run.recipe) for run in plan.runs}
    backbones = {run.recipe.model.backbone for run in plan.runs}
    words += ["--dataset", *datasets] if len(datasets) == 1 else []
    words += ["--backbone", *backbones] if len(backbones) == 1 else []
    return shlex.join([*words, *list_store_options(run_store)])
