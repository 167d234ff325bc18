"""Names and colours of variants, the same in every figure of a table."""

from collections.abc import Sequence

from attncli.analysis.comparison_row import ComparisonRow
from attncli.palette import COLOURS, FAINT, INK

MAX_NAME = 24  # characters
MOST_NAMED = 16  # variants; if a figure has more, only those with a colour of their own are named
BASELINE = "baseline"  # the verdict on a plain network


def is_baseline(row: ComparisonRow) -> bool:
    """Return whether a row is that of a plain network."""
    return row.verdict == BASELINE


def choose_colours(rows: Sequence[ComparisonRow]) -> dict[str, str]:
    """Return the colour of each variant, the same in every figure of a table; variants beyond the sixth are grey."""
    variants = [row.variant for row in rows if not is_baseline(row)]
    colours = dict(zip(variants, COLOURS, strict=False))
    return {row.variant: INK if is_baseline(row) else colours.get(row.variant, FAINT) for row in rows}


def shorten_variant(name: str) -> str:
    """Return a variant's name; a long one without its middle, as options at its end tell variants apart."""
    kept = MAX_NAME // 2
    return name if len(name) <= MAX_NAME else f"{name[: kept - 1]}…{name[-kept:]}"


def choose_named_variants(rows: Sequence[ComparisonRow]) -> set[str]:
    """Return the variants whose names stand in a figure: all; of more than `MOST_NAMED` those that are not grey."""
    if len(rows) <= MOST_NAMED:
        return {row.variant for row in rows}
    return {variant for variant, colour in choose_colours(rows).items() if colour != FAINT}
