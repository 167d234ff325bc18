"""The rows of the log of bug reports that need no training; `python -m tests.data.bug_log` tries all of them."""

from pathlib import Path

import pytest

from tests.data.bug_log import LOG, ROWS, try_row
from tests.data.bug_log_inputs import Row

CHEAP = ("A10", "A11", "A12", "B2", "B6", "C6", "C7", "C16", "D1", "D2", "D3", "D9")


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.name.split()[0] in CHEAP and row.name != "A11 no test"], ids=lambda row: row.name
)
def test_a_row_is_right(row: Row, tmp_path: Path) -> None:
    """The input of the report is read, or refused in a line that says what it is."""
    good, text = try_row(row, tmp_path)
    assert good, text


def test_every_row_of_the_log_has_an_input() -> None:
    """The script tries each row of the log, and names no other; no name stands twice."""
    names = [row.name for row in ROWS]
    assert {name.split()[0] for name in names} == set(LOG.split())
    assert len(names) == len(set(names))
