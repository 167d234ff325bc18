"""The text below a comparison: what its columns mean, and what stands after ±."""

import math
from collections.abc import Iterable
from typing import Literal

from attncli.analysis import stats
from attncli.analysis.comparison_row import ComparisonRow

Spread = Literal["ci", "sd"]  # what stands after ±
_NOTE = (
    "top-1: mean over n seeds, in percent; n 2/3: 2 of 3 seeds, the others failed or are missing. diff: to the plain "
    "network, seed by seed, in points (over the seeds in brackets, if those are fewer than n). After ±: {spread}. p: "
    "corrected for all variants of a table. params, MACs: overhead in percent. train, infer: images/s over the plain "
    "network's. All variants have the recipe of the plain network: nothing is tuned for any of them. `attncli help "
    "statistics` explains the verdicts."
)


def explain_columns(rows: Iterable[ComparisonRow], spread: Spread = "ci") -> str:
    """Return the text below a comparison of these rows."""
    return _NOTE.format(spread=describe_spread(rows, spread))


def describe_spread(rows: Iterable[ComparisonRow], spread: Spread) -> str:
    """Return what the columns of these rows have after ±."""
    if spread == "sd":
        return "the standard deviation over the seeds"
    confidence = format_confidence(rows)
    return f"half the 95 % interval; those of differences are of {confidence} and hold for all variants of a table"


def format_confidence(rows: Iterable[ComparisonRow]) -> str:
    """Return the confidence of the differences' intervals, which follows from the level of each variant's test."""
    levels = {row.level or stats.ALPHA for row in rows if row.joint is not None} or {stats.ALPHA}
    ends = dict.fromkeys(map(_format_complement, (max(levels), min(levels))))
    return f"{' to '.join(ends)} %"


def _format_complement(level: float) -> str:
    """Return 1 less a level in percent, with as many digits as two digits of the level have."""
    digits = max(0, 1 - math.floor(math.log10(100 * level)))
    text = f"{100 - 100 * level:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
