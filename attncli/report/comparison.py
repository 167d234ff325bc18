"""The comparison as a table: accuracy, difference to the baseline, cost, and the verdict."""

import textwrap
from collections.abc import Sequence
from itertools import groupby

from attncli.analysis.compare import ComparisonRow
from attncli.report import table
from attncli.report.table import MISSING, WIDTH, Column

NOTE = (
    "top-1: mean over n seeds ± half its 95 % interval, in percent. diff: to the plain network, seed by seed, in "
    "points (over the seeds in brackets, if those are fewer than n). p: paired t test, corrected for the whole "
    "table (Holm). params, MACs: overhead in percent. train, infer: images/s over the plain network's."
)


def render_comparison(rows: Sequence[ComparisonRow], format_: str = "table", width: int = WIDTH) -> str:
    """Return the comparison in one of `table.FORMATS`. Raises UserError for another format."""
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
    return table.render_rows([row.to_json_dict() for row in rows], format_)


def group_comparison_rows(rows: Sequence[ComparisonRow]) -> list[tuple[str, list[ComparisonRow]]]:
    """Return (title, rows) for each dataset, backbone and recipe."""
    return [(title, list(part)) for title, part in groupby(rows, _format_title)]


def _format_title(row: ComparisonRow) -> str:
    recipe = f" ({row.recipe})" if row.recipe else ""
    return f"{row.dataset}, {row.backbone}{recipe}"


def _render_group(title: str, rows: Sequence[ComparisonRow], width: int) -> str:
    """Return a table and below it the verdicts, variants with the same verdict together."""
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
    """Return the mean in percent with half its interval."""
    half = _halve_interval(row.accuracy.low, row.accuracy.high)
    return f"{100 * row.accuracy.mean:.2f}" + ("" if half is None else f" ±{100 * half:.2f}")


def format_difference(row: ComparisonRow) -> str:
    """Return the difference in points with half its interval; baselines have none."""
    if row.difference is None:
        return MISSING
    half = _halve_interval(row.difference.low, row.difference.high)
    shared = f" ({row.difference.n})" if row.difference.n < row.accuracy.n else ""
    return f"{100 * row.difference.mean:+.2f}" + ("" if half is None else f" ±{100 * half:.2f}") + shared


def format_p_value(p: float | None) -> str:
    """Return a p value with three digits, or that it is smaller."""
    if p is None:
        return MISSING
    return "<.001" if p < 0.001 else f"{p:.3f}".removeprefix("0") if p < 1 else "1"


def format_overhead(percent: float | None) -> str:
    """Return an overhead in percent with as many digits as are needed to see it."""
    if percent is None:
        return MISSING
    if percent == 0:
        return "0"
    if abs(percent) < 0.001:
        return "<.001"
    return f"{percent:+.1f}" if abs(percent) >= 1 else f"{percent:+.2f}" if abs(percent) >= 0.1 else f"{percent:+.3f}"


def format_ratio(value: float | None) -> str:
    """Return a speed as a ratio to the baseline's."""
    return MISSING if value is None else f"{value:.2f}"


COLUMNS: list[Column[ComparisonRow]] = [
    Column("attention", lambda r: r.variant, right=False),
    Column("n", lambda r: str(r.accuracy.n)),
    Column("top-1", format_top1),
    Column("diff", format_difference),
    Column("p", lambda r: format_p_value(r.p_holm)),
    Column("params", lambda r: format_overhead(r.params_pct)),
    Column("MACs", lambda r: format_overhead(r.macs_pct)),
    Column("train", lambda r: format_ratio(r.train_ratio)),
    Column("infer", lambda r: format_ratio(r.infer_ratio)),
]
VERDICT: Column[ComparisonRow] = Column("verdict", lambda r: r.verdict, right=False)
