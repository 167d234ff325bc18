"""The width of the terminal."""

import shutil

LEAST_WIDTH = 40  # in a narrower one lines are broken
MOST_TEXT_WIDTH = 120  # longer lines of text are hard to read


def find_terminal_width() -> int:
    """Return how many characters a line of output may have: as many as the terminal has columns, at least 40.

    COLUMNS goes before the terminal's own width. Where stdout is no terminal, it is 80.
    """
    return max(shutil.get_terminal_size().columns, LEAST_WIDTH)


def find_text_width() -> int:
    """Return how many characters a line of text may have: as `find_terminal_width`, at most 120."""
    return min(find_terminal_width(), MOST_TEXT_WIDTH)
