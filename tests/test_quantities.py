"""Numbers with their nouns."""

import pytest

from attncli.quantities import format_change, format_counts, format_first, format_numbers, format_quantity


@pytest.mark.parametrize(
    ("count", "noun", "text"),
    [(0, "file", "0 files"), (1, "file", "1 file"), (2000, "test image", "2,000 test images"), (1, "class", "1 class"),
     (2, "class", "2 classes"), (3, "batch", "3 batches"), (4, "epoch", "4 epochs"), (2, "copy", "2 copies"),
     (2, "day", "2 days")],
)  # fmt: skip
def test_one_is_singular(count: int, noun: str, text: str) -> None:
    """All other counts are plural, with separated thousands."""
    assert format_quantity(count, noun) == text


def test_the_last_of_several_counts_decides() -> None:
    """Its noun is in the singular if it is one."""
    assert format_counts({"train": 1000, "test": 1}, "image") == "1,000 train, 1 test image"
    assert format_counts({"train": 1, "test": 2}, "image") == "1 train, 2 test images"


@pytest.mark.parametrize(
    ("most", "separator", "text"),
    [(3, ", ", "a, b, c"), (2, ", ", "a, b and 1 more"), (2, "; ", "a; b; and 1 more"), (1, ", ", "a and 2 more")],
)
def test_of_many_the_first(most: int, separator: str, text: str) -> None:
    """The others are counted; if all are shown, nothing follows them."""
    assert format_first(["a", "b", "c"], most, separator) == text


def test_numbers_follow_their_noun() -> None:
    """In the singular if there is one of them, whichever it is."""
    assert format_numbers("seed", [3]) == "seed 3"
    assert format_numbers("seed", [0, 1]) == "seeds 0, 1"


@pytest.mark.parametrize(
    ("percent", "text"),
    [(0.0, "0"), (0.0000123, "+0.00001"), (-0.0003, "-0.0003"), (0.01, "+0.010"), (-12.34, "-12.3"), (300.4, "+300.4")],
)
def test_a_change_is_never_shown_as_none_nor_with_an_exponent(percent: float, text: str) -> None:
    """As many digits as it takes to see it."""
    assert format_change(percent) == text
