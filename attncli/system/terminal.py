"""The width of the terminal, and text in lines that fit it."""

import re
import shutil
import textwrap

LEAST_WIDTH = 40  # in a narrower one lines are broken
MOST_TEXT_WIDTH = 120  # longer lines of text are hard to read
_TO_COPY = re.compile(  # what a user may copy has no line break: quoted texts, places, options with values, commands
    r"`[^`]*`"
    r"|(?<!\w)'[^']*'(?!\w)"
    r'|(?<!\w)"[^"]*"(?!\w)'
    r"|\{[^{}]*\}|\[[^][]*\]"
    r"|\A[^\s:`']*[/\\][^:]*:(?=\s)"  # a path before the first colon, which may have spaces
    r"|(?:\A|(?<=: ))(?:attncli|pip install) [^;,()`]*"
    r"|(?<![\w./-])--\w[\w-]* [^\s;,()]+"
)
_NO_BREAK = "\0"  # stands for a space at which no line ends


def find_terminal_width() -> int:
    """Return how many characters a line of output may have: as many as the terminal has columns, at least 40.

    COLUMNS goes before the terminal's own width. Where stdout is no terminal, it is 80.
    """
    return max(shutil.get_terminal_size().columns, LEAST_WIDTH)


def find_text_width() -> int:
    """Return how many characters a line of text may have: as `find_terminal_width`, at most 120."""
    return min(find_terminal_width(), MOST_TEXT_WIDTH)


def is_command(text: str) -> bool:
    """Return whether a text is a command of attncli, which is printed in one line so that it can be copied."""
    return text.startswith("attncli ")


def fill_text(text: str, width: int, *, first: str = "", later: str = "") -> str:
    """Return a text in lines of at most `width` characters, broken at spaces.

    Words, paths, quoted texts, commands and options with their values are never broken, so that they can be copied: a
    line with one that is longer than the width is longer too, and the terminal breaks it.

    Args:
        text: one paragraph.
        width: characters of a line.
        first: what the first line begins with.
        later: what all others begin with.
    """
    whole = _TO_COPY.sub(lambda match: match[0].replace(" ", _NO_BREAK), text)
    lines = textwrap.fill(
        whole, width, initial_indent=first, subsequent_indent=later, break_long_words=False, break_on_hyphens=False
    )
    return lines.replace(_NO_BREAK, " ")
