"""Numbers for people: with their nouns, and changes in percent."""

import math
from collections.abc import Collection, Mapping, Sequence
from itertools import islice


def format_quantity(count: int, noun: str) -> str:
    """Return a count with its noun, in the plural unless it is one: "1 file", "2,000 files", "3 classes"."""
    return f"{count:,} {noun if count == 1 else _make_plural(noun)}"


def format_counts(counts: Mapping[str, int], noun: str) -> str:
    """Return the counts of several kinds of one noun: "1,000 train, 1 test image"."""
    names = [f"{count:,} {kind}" for kind, count in counts.items()]
    last_count = list(counts.values())[-1]
    return f"{', '.join(names)} {noun if last_count == 1 else _make_plural(noun)}"


def format_numbers(noun: str, numbers: Sequence[int]) -> str:
    """Return numbers after their noun: "seed 3", "seeds 0, 1"."""
    return f"{noun if len(numbers) == 1 else _make_plural(noun)} {', '.join(map(str, numbers))}"


def format_first(texts: Collection[str], most: int, separator: str = ", ") -> str:
    """Return the first texts and how many others there are: "a, b and 3 more"; "a; b; and 3 more" with that separator.

    Args:
        texts: what is listed, in its order.
        most: how many of them are shown.
        separator: what stands between two of them.
    """
    shown = separator.join(islice(texts, most))
    others = len(texts) - most
    join = separator if separator.strip() != "," else " "
    return f"{shown}{join}and {others:,} more" if others > 0 else shown


def format_change(percent: float) -> str:
    """Return a change in percent with its sign, and as many digits as are needed to see it: "0", "+0.010", "+300.4"."""
    if percent == 0:
        return "0"
    if abs(percent) < 0.001:
        return f"{percent:+.{-math.floor(math.log10(abs(percent)))}f}"
    return f"{percent:+.1f}" if abs(percent) >= 1 else f"{percent:+.2f}" if abs(percent) >= 0.1 else f"{percent:+.3f}"


def _make_plural(noun: str) -> str:
    """Return the plural of a regular English noun."""
    if noun.endswith(("s", "sh", "tch", "nch", "x")):
        return f"{noun}es"
    is_consonant_y = noun.endswith("y") and noun[-2:-1] not in "aeiou"
    return f"{noun[:-1]}ies" if is_consonant_y else f"{noun}s"
