"""The comparison as a table: what was reached, against the baseline, at what cost, and what that says."""

import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby

from attncli.report import table
from attncli.report.table import MISSING, WIDTH, Column
from attncli.survey.compare import Row

NOTE = (
    "top-1: mean over n seeds ± half its 95 % interval, in percent. diff: to the plain network, seed by seed, in "
    "points (over the seeds in brackets, where those are fewer than n). p: paired t test, corrected for the whole "
    "table (Holm). params, MACs: overhead in percent. train, infer: images/s over the plain network's."
)


def render(rows: Sequence[Row], format_: str = "table", width: int = WIDTH) -> str:
    """The comparison in one of `table.FORMATS`. Raises UserError for another format."""
    if format_ == "table":
        return "\n\n".join([*(_block(title, part, width) for title, part in parts(rows)), _wrapped(NOTE, width)])
    if format_ == "markdown":
        blocks = [f"### {title}\n\n{table.markdown([*COLUMNS, VERDICT], part)}" for title, part in parts(rows)]
        return "\n\n".join([*blocks, NOTE])
    return table.render([asdict(row) for row in rows], format_)


def parts(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """The rows that share dataset, backbone and recipe, with what they share."""
    return [(title, list(part)) for title, part in groupby(rows, _title)]


def _title(row: Row) -> str:
    recipe = f" ({row.recipe})" if row.recipe else ""
    return f"{row.dataset}, {row.backbone}{recipe}"


def _block(title: str, rows: Sequence[Row], width: int) -> str:
    """A table, and below it what it says, variants with the same verdict together."""
    verdicts: dict[str, list[str]] = {}
    for row in rows:
        if row.verdict != "baseline":
            verdicts.setdefault(row.verdict, []).append(row.variant)
    lines = [_wrapped(f"{', '.join(names)}: {verdict}", width) for verdict, names in verdicts.items()]
    return "\n".join([table.text(COLUMNS, rows, title=title, width=width), *lines])


def _wrapped(text: str, width: int) -> str:
    return textwrap.fill(text, width, subsequent_indent="  ", break_long_words=False)


def _half(low: float | None, high: float | None) -> float | None:
    return None if low is None or high is None else (high - low) / 2


def top1(row: Row) -> str:
    """The mean in percent with half its interval."""
    half = _half(row.top1_low, row.top1_high)
    return f"{100 * row.top1:.2f}" + ("" if half is None else f" ±{100 * half:.2f}")


def diff(row: Row) -> str:
    """The difference in points with half its interval; baselines have none."""
    if row.diff is None:
        return MISSING
    half = _half(row.diff_low, row.diff_high)
    shared = f" ({row.pairs})" if row.pairs < row.n else ""
    return f"{100 * row.diff:+.2f}" + ("" if half is None else f" ±{100 * half:.2f}") + shared


def chance(p: float | None) -> str:
    """A p value: three digits, or that it is smaller."""
    if p is None:
        return MISSING
    return "<.001" if p < 0.001 else f"{p:.3f}".removeprefix("0") if p < 1 else "1"


def added(percent: float | None) -> str:
    """An overhead in percent, with as many digits as it takes to see it."""
    if percent is None:
        return MISSING
    if percent == 0:
        return "0"
    if abs(percent) < 0.001:
        return "<.001"
    return f"{percent:+.1f}" if abs(percent) >= 1 else f"{percent:+.2f}" if abs(percent) >= 0.1 else f"{percent:+.3f}"


def ratio(value: float | None) -> str:
    """A speed over the baseline's."""
    return MISSING if value is None else f"{value:.2f}"


COLUMNS: list[Column[Row]] = [
    Column("attention", lambda r: r.variant, right=False),
    Column("n", lambda r: str(r.n)),
    Column("top-1", top1),
    Column("diff", diff),
    Column("p", lambda r: chance(r.p_holm)),
    Column("params", lambda r: added(r.params_pct)),
    Column("MACs", lambda r: added(r.macs_pct)),
    Column("train", lambda r: ratio(r.train_ratio)),
    Column("infer", lambda r: ratio(r.infer_ratio)),
]
VERDICT: Column[Row] = Column("verdict", lambda r: r.verdict, right=False)
