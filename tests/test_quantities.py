"""Numbers with their nouns."""

import pytest

from attncli.quantities import format_quantity


@pytest.mark.parametrize(
    ("count", "noun", "text"),
    [(0, "file", "0 files"), (1, "file", "1 file"), (2000, "test image", "2,000 test images"), (1, "class", "1 class"),
     (2, "class", "2 classes"), (3, "batch", "3 batches"), (4, "epoch", "4 epochs"), (2, "copy", "2 copies"),
     (2, "day", "2 days")],
)  # fmt: skip
def test_one_is_singular(count: int, noun: str, text: str) -> None:
    """All other counts are plural, with separated thousands."""
    assert format_quantity(count, noun) == text
