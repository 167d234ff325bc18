"""Variants over tasks as a table, and Demsar's critical-difference diagram."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from attncli.analysis.over_tasks import TaskComparison, VariantSummary
from attncli.palette import FAINT, INK
from attncli.report import table
from attncli.report.comparison import wrap_text
from attncli.report.json_text import format_json
from attncli.report.style import saved_figure
from attncli.report.table import MISSING, WIDTH, Column

NOTE = (
    "rank: mean over tasks, 1 is best. improves: chance that a run is better than the plain network's of the same "
    "seed. IQM: mean of the middle half of all differences, in points. Intervals: 95 %, for other seeds of these "
    "tasks; other tasks may differ more."
)
ROW_HEIGHT, WIDTH_INCHES = 0.28, 7.0


def render_task_comparison(comparison: TaskComparison, format_: str = "table", width: int = WIDTH) -> str:
    """Return the comparison as text in one of `table.FORMATS`; CSV and JSON have every figure, unrounded.

    `width` is that of the terminal, for `table`.
    """
    if format_ == "csv":
        return table.render_csv([asdict(variant) for variant in comparison.variants])
    if format_ == "json":
        return format_json(comparison.to_json_dict())
    lines = _describe_tasks(comparison)
    if format_ == "latex":
        return table.render_latex_table(COLUMNS, comparison.variants, comment="; ".join(lines))
    if format_ == "markdown":
        return "\n\n".join([table.render_markdown_table(COLUMNS, comparison.variants), *lines, NOTE])
    text = table.render_text_table(COLUMNS, comparison.variants, width=width).strip("\n")
    return "\n\n".join([text, "\n".join(wrap_text(line, width) for line in lines), wrap_text(NOTE, width)])


def _describe_tasks(comparison: TaskComparison) -> list[str]:
    """Return which tasks were compared, when mean ranks differ, and what is left out."""
    lines = [
        f"{len(comparison.tasks)} tasks: {'; '.join(comparison.tasks)}",
        f"mean ranks, of {comparison.ranked} variants together, differ if they are "
        f"{comparison.critical_difference:.2f} apart (Nemenyi, 5 %)",
    ]
    lines += comparison.recipe_choices
    others = [name for name in comparison.left_out if name not in comparison.unfinished]
    if others:
        lines.append(f"left out, as some task lacks them or a seed failed: {', '.join(others)}")
    if comparison.unfinished:
        lines.append(f"left out, as planned seeds are not finished: {', '.join(comparison.unfinished)}")
    return lines


def _format_interval(value: float | None, low: float | None, high: float | None, scale: float, digits: int) -> str:
    if value is None:
        return MISSING
    if low is None or high is None:
        return f"{scale * value:.{digits}f}"
    return f"{scale * value:.{digits}f} ({scale * low:.{digits}f} to {scale * high:.{digits}f})"


COLUMNS: list[Column[VariantSummary]] = [
    Column("attention", lambda v: v.variant, right=False),
    Column("rank", lambda v: f"{v.mean_rank:.2f}"),
    Column("improves", lambda v: _format_interval(v.improvement, v.improvement_low, v.improvement_high, 1, 2)),
    Column("IQM", lambda v: _format_interval(v.iqm, v.iqm_low, v.iqm_high, 100, 2)),
]


def find_cliques(ranks: Sequence[float], critical_difference: float) -> list[tuple[int, int]]:
    """Return the longest ranges (first, last) of ascending mean ranks that do not differ, without ranges of one."""
    cliques: list[tuple[int, int]] = []
    for first, rank in enumerate(ranks):
        last = max(i for i, other in enumerate(ranks) if other - rank < critical_difference)
        if last > first and (not cliques or last > cliques[-1][1]):
            cliques.append((first, last))
    return cliques


def draw_critical_differences(comparison: TaskComparison, path: Path) -> None:
    """Draw each variant at its mean rank, and a bar over those that do not differ."""
    variants = comparison.variants
    ranks = [variant.mean_rank for variant in variants]
    cliques = find_cliques(ranks, comparison.critical_difference)
    height = 0.9 + ROW_HEIGHT * len(variants)
    with saved_figure(path, WIDTH_INCHES, height) as figure:
        axes = figure.subplots()
        for y, variant in enumerate(variants):
            axes.plot([variant.mean_rank], [y], "o", color=INK)
            axes.annotate(variant.variant, (variant.mean_rank, y), (7, 0), textcoords="offset points", va="center")
        for first, last in cliques:
            axes.plot([ranks[first], ranks[last]], [first - 0.35, first - 0.35], color=FAINT, linewidth=3)
        axes.set_ylim(len(variants) - 0.4, -0.8)
        axes.set_yticks([])
        axes.margins(x=0.2)
        axes.set_xlabel(
            f"mean rank over {len(comparison.tasks)} tasks, 1 is best; bars join what does not differ "
            f"({comparison.critical_difference:.2f})"
        )
