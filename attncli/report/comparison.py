"""The comparison as a table: what was reached, against the baseline, at what cost, and what that says."""

import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby

from attncli.analysis.compare import ComparisonRow
from attncli.report import table
from attncli.report.table import MISSING, WIDTH, Column

NOTE = (
    "top-1: mean over n seeds ± half its 95 % interval, in percent. diff: to the plain network, seed by seed, in "
    "points (over the seeds in brackets, where those are fewer than n). p: paired t test, corrected for the whole "
    "table (Holm). params, MACs: overhead in percent. train, infer: images/s over the plain network's."
)


def render_comparison(rows: Sequence[ComparisonRow], format_: str = "table", width: int = WIDTH) -> str:
    """The comparison in one of `table.FORMATS`. Raises UserError for another format."""
    if format_ == "table":
        return "\n\n".join(
            [
                *(_render_group(title, part, width) for title, part in group_comparison_rows(rows)),
                _wrap_text(NOTE, width),
            ]
        )
    if format_ == "markdown":
        blocks = [
            f"### {title}\n\n{table.render_markdown_table([*COLUMNS, VERDICT], part)}"
            for title, part in group_comparison_rows(rows)
        ]
        return "\n\n".join([*blocks, NOTE])
    return table.render_rows([asdict(row) for row in rows], format_)


def group_comparison_rows(rows: Sequence[ComparisonRow]) -> list[tuple[str, list[ComparisonRow]]]:
    """The rows that share dataset, backbone and recipe, with what they share."""
    return [(title, list(part)) for title, part in groupby(rows, _format_title)]


def _format_title(row: ComparisonRow) -> str:
    recipe = f" ({row.recipe})" if row.recipe else ""
    return f"{row.dataset}, {row.backbone}{recipe}"


def _render_group(title: str, rows: Sequence[ComparisonRow], width: int) -> str:
    """A table, and below it what it says, variants with the same verdict together."""
    verdicts: dict[str, list[str]] = {}
    for row in rows:
        if row.verdict != "baseline":
            verdicts.setdefault(row.verdict, []).append(row.variant)
    lines = [_wrap_text(f"{', '.join(names)}: {verdict}", width) for verdict, names in verdicts.items()]
    return "\n".join([table.render_text_table(COLUMNS, rows, title=title, width=width), *lines])


def _wrap_text(text: str, width: int) -> str:
    return textwrap.fill(text, width, subsequent_indent="  ", break_long_words=False)


def _halve_interval(low: float | None, high: float | None) -> float | None:
    return None if low is None or high is None else (high - low) / 2


def format_top1(row: ComparisonRow) -> str:
    """The mean in percent with half its interval."""
    half = _halve_interval(row.top1_low, row.top1_high)
    return f"{100 * row.top1:.2f}" + ("" if half is None else f" ±{100 * half:.2f}")


def format_difference(row: ComparisonRow) -> str:
    """The difference in points with half its interval; baselines have none."""
    if row.diff is None:
        return MISSING
    half = _halve_interval(row.diff_low, row.diff_high)
    shared = f" ({row.pairs})" if row.pairs < row.n else ""
    return f"{100 * row.diff:+.2f}" + ("" if half is None else f" ±{100 * half:.2f}") + shared


def format_p_value(p: float | None) -> str:
    """A p value: three digits, or that it is smaller."""
    if p is None:
        return MISSING
    return "<.001" if p < 0.001 else f"{p:.3f}".removeprefix("0") if p < 1 else "1"


def format_overhead(percent: float | None) -> str:
    """An overhead in percent, with as many digits as it takes to see it."""
    if percent is None:
        return MISSING
    if percent == 0:
        return "0"
    if abs(percent) < 0.001:
        return "<.001"
    return f"{percent:+.1f}" if abs(percent) >= 1 else f"{percent:+.2f}" if abs(percent) >= 0.1 else f"{percent:+.3f}"


def format_ratio(value: float | None) -> str:
    """A speed over the baseline's."""
    return MISSING if value is None else f"{value:.2f}"


COLUMNS: list[Column[ComparisonRow]] = [
    Column("attention", lambda r: r.variant, right=False),
    Column("n", lambda r: str(r.n)),
    Column("top-1", format_top1),
    Column("diff", format_difference),
    Column("p", lambda r: format_p_value(r.p_holm)),
    Column("params", lambda r: format_overhead(r.params_pct)),
    Column("MACs", lambda r: format_overhead(r.macs_pct)),
    Column("train", lambda r: format_ratio(r.train_ratio)),
    Column("infer", lambda r: format_ratio(r.infer_ratio)),
]
VERDICT: Column[ComparisonRow] = Column("verdict", lambda r: r.verdict, right=False)
