"""The rows of the log of bug reports that need no training; `python -m tests.data.bug_log` tries all of them."""

from pathlib import Path

import pytest

from tests.data.bug_log import ROWS, Row, try_row

CHEAP = ("A10", "A11", "A12", "B2", "B6", "C6", "C7", "C16", "D1", "D2", "D3", "D9")


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.name.split()[0] in CHEAP and row.name != "A11 no test"], ids=lambda row: row.name
)
def test_a_row_is_right(row: Row, tmp_path: Path) -> None:
    """The input of the report is read, or refused in a line that says what it is."""
    good, text = try_row(row, tmp_path)
    assert good, text
