"""The cells of a comparison's table: figures as text, with as many digits as are needed."""

import math

from attncli.analysis import stats
from attncli.analysis.comparison_row import ComparisonRow
from attncli.quantities import format_change
from attncli.report.comparison_note import Spread
from attncli.report.table import HOST_MARK, MISSING


def format_seed_count(row: ComparisonRow) -> str:
    """Return the number of seeds; if some failed or are missing, of how many."""
    lost = len(row.failed_seeds) + len(row.missing_seeds)
    return f"{row.accuracy.n}/{row.accuracy.n + lost}" if lost else str(row.accuracy.n)


def format_top1(row: ComparisonRow) -> str:
    """Return the mean of top-1 with its interval, as `format_mean` does."""
    return format_mean(row.accuracy)


def format_mean(estimate: stats.MeanEstimate) -> str:
    """Return the mean in percent with half its interval, or with both ends if the interval is cut at 0 or 100 %."""
    mean, low, high = estimate.mean, estimate.low, estimate.high
    if low is None or high is None:
        return f"{100 * mean:.2f}"
    if low <= 0 or high >= 1:
        return f"{100 * mean:.2f} ({100 * low:.1f} to {100 * high:.1f})"
    return f"{100 * mean:.2f} ±{format_half_interval(high - mean)}"


def format_difference(row: ComparisonRow, spread: Spread = "ci") -> str:
    """Return the difference in points with half its interval, or its standard deviation; baselines have none."""
    if row.difference is None:
        return MISSING
    half = f" ±{format_half_interval(reach)}" if (reach := _find_reach(row, row.difference, spread)) is not None else ""
    shared = f" ({row.difference.n})" if row.difference.n < row.accuracy.n else ""
    return f"{100 * row.difference.mean:+.2f}{half}{shared}"


def _find_reach(row: ComparisonRow, difference: stats.MeanEstimate, spread: Spread) -> float | None:
    """Return what stands after ± of a difference, as a fraction, or None if it is unknown or unbounded."""
    if spread == "sd":
        return difference.sd if difference.n > 1 else None
    high = row.joint.high if row.joint else None
    return high - difference.mean if high is not None and math.isfinite(high) else None


def format_half_interval(fraction: float) -> str:
    """Return half an interval, a fraction, in points with two decimals, more if it would be printed as 0."""
    points = 100 * fraction
    return f"{points:.2f}" if points >= 0.005 or points == 0 else f"{points:.1g}"


def format_p_value(p: float | None, level: float = 0.05) -> str:
    """Return a p value with three digits, more if rounding would put it on the other side of the level.

    Late looks have levels below 0.001, so "<.001" is only said of a p value that is below its level too.
    """
    if p is None:
        return MISSING
    if p < min(0.001, level):
        return "<.001"
    digits = next((d for d in range(3, 8) if (round(p, d) < level) == (p < level)), 8)
    return f"{p:.{digits}f}".removeprefix("0") if round(p, digits) < 1 else "1"


def format_overhead(percent: float | None) -> str:
    """Return an overhead in percent with as many digits as are needed to see it."""
    return MISSING if percent is None else format_change(percent)


def format_ratio(value: float | None, limit: str | None = None) -> str:
    """Return a speed as a ratio to the baseline's, with a mark if the host was the limit and not the GPU."""
    return MISSING if value is None else f"{value:.2f}{HOST_MARK if limit == 'host' else ''}"
