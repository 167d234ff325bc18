"""The text below a comparison: what its columns mean, and what stands after ±."""

import math
from collections.abc import Sequence
from typing import Literal

from attncli.analysis import stats
from attncli.analysis.comparison_row import ComparisonRow

Spread = Literal["ci", "sd"]  # what stands after ±
_NOTE = (
    "top-1: mean over n {pair}s, in percent; n 2/3: 2 of 3 {pair}s, the others failed or are missing. diff: to the "
    "plain network, {pair} by {pair}, in points (over the {pair}s in brackets, if those are fewer than n). After ±: "
    "{spread}. p: corrected for all variants of a table. params, MACs: overhead in percent. train, infer: images/s "
    "over the plain network's. All variants have the recipe of the plain network: nothing is tuned for any of them. "
    "`attncli help statistics` explains the verdicts."
)


def explain_columns(rows: Sequence[ComparisonRow], spread: Spread = "ci") -> str:
    """Return the text below a comparison of these rows."""
    return _NOTE.format(pair=_name_pair(rows), spread=describe_spread(rows, spread))


def _name_pair(rows: Sequence[ComparisonRow]) -> str:
    """Return what is paired with the plain network: runs of one seed, or of one fold of a seed."""
    return "fold" if rows and all(row.folds for row in rows) else "seed"


def describe_spread(rows: Sequence[ComparisonRow], spread: Spread) -> str:
    """Return what the columns of these rows have after ±."""
    if spread == "sd":
        return f"the standard deviation over the {_name_pair(rows)}s"
    confidence = format_confidence(rows)
    return f"half the 95 % interval; those of differences are of {confidence} and hold for all variants of a table"


def format_confidence(rows: Sequence[ComparisonRow]) -> str:
    """Return the confidence of the differences' intervals, which follows from the level of each variant's test."""
    levels = {row.level or stats.ALPHA for row in rows if row.joint is not None} or {stats.ALPHA}
    ends = dict.fromkeys(map(_format_complement, (max(levels), min(levels))))
    return f"{' to '.join(ends)} %"


def _format_complement(level: float) -> str:
    """Return 1 less a level in percent, with as many digits as two digits of the level have."""
    digits = max(0, 1 - math.floor(math.log10(100 * level)))
    text = f"{100 - 100 * level:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
