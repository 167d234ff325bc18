"""How the columns of a table fit a terminal: narrower ones, names in several lines, and columns that follow below."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from rich.cells import cell_len

from attncli.system.terminal import is_command

EDGES = 2  # blanks at both ends of a line
_PRIVATE_LETTERS = range(0xE000, 0xF900)
LEAST_NAME, LEAST_TEXT, LEAST_CUT = 12, 24, 8  # columns that are narrower are hard to read; words are cut at the last


@dataclass(frozen=True)
class TextColumn:
    """A column whose cells are text. `width` is None until it has to be narrower than its cells.

    Numbers, on the right, are never broken, names (no cell has a blank) at their marks, and texts at their blanks.
    """

    heading: str
    cells: Sequence[str]
    right: bool
    width: int | None = None

    @property
    def needed_width(self) -> int:
        """The width of its widest line."""
        return max(map(cell_len, (self.heading, *(line for cell in self.cells for line in cell.split("\n")))))

    @property
    def is_name(self) -> bool:
        """Whether its cells are names."""
        return not self.right and not any(" " in cell for cell in self.cells)

    @property
    def unbroken_width(self) -> int:
        """The width down to which no number, and no piece of a name or text, is broken."""
        if self.right:
            return self.needed_width
        pieces = [piece for cell in self.cells for piece in (split_name(cell) if self.is_name else cell.split())]
        return max(map(cell_len, (*pieces, *self.heading.split())), default=0)

    @property
    def least_width(self) -> int:
        """The width down to which it can be read well."""
        return min(self.needed_width, max(self.unbroken_width, LEAST_NAME if self.is_name else LEAST_TEXT))


def mark_last_commands(columns: Sequence[TextColumn]) -> tuple[list[TextColumn], dict[int, str]]:
    """Return the columns, in the last one a letter for each command, whose width then does not count; and the commands.

    The commands are by the number of the letter, as `str.translate` takes them. Letters are of
    Unicode's private use; a command for which none is left stays as it is.
    """
    if not columns:
        return [], {}
    *others, last = columns
    commands = dict(zip(_PRIVATE_LETTERS, dict.fromkeys(filter(is_command, last.cells)), strict=False))
    letters = {command: chr(letter) for letter, command in commands.items()}
    return [*others, replace(last, cells=[letters.get(cell, cell) for cell in last.cells])], commands


def split_name(name: str) -> list[str]:
    """Return the pieces of a name between which a line may end: after . _ - + / and before [, in no number."""
    return re.split(r"(?<=[_+/-])|(?=\[)|(?<=\.)(?!\d)", name)


def compute_table_width(widths: Sequence[int], gap: int) -> int:
    """Return the width of a table with columns of these widths and `gap` blanks between them."""
    return EDGES + sum(widths) + gap * (len(widths) - 1)


def complete_keys(columns: Sequence[TextColumn], keys: Collection[int], width: int) -> Collection[int]:
    """Return the numbers of the columns that name the rows, with further columns of names or texts.

    They are added until no two rows have one name, as long as a line of `width` holds them and any other column.
    """
    chosen = list(keys)
    for i, column in enumerate(columns):
        names = list(zip(*(columns[key].cells for key in chosen), strict=True))
        if len(set(names)) == len(names):
            break
        if not column.right and i not in chosen:
            more = sorted([*chosen, i])
            others = [other.least_width for other_i, other in enumerate(columns) if other_i not in more]
            widths = [*(columns[key].least_width for key in more), max(others, default=0)]
            chosen = more if compute_table_width(widths, 1) <= width else chosen
    return chosen


def split_columns(columns: Sequence[TextColumn], width: int, keys: Collection[int]) -> list[list[TextColumn]]:
    """Return all columns as one part if they fit a line, else in several that do; each of these begins with the keys.

    Args:
        columns: of the table.
        width: of a line.
        keys: the numbers of the columns that name the rows; if two rows have one name, others are added.
    """
    if compute_table_width([column.least_width for column in columns], 1) <= width:
        return [list(columns)]
    keys = complete_keys(columns, keys, width)
    key_columns = [columns[i] for i in keys]
    parts = [[*key_columns]]
    for column in (column for i, column in enumerate(columns) if i not in keys):
        widths = [member.least_width for member in (*parts[-1], column)]
        if len(parts[-1]) > len(keys) and compute_table_width(widths, 1) > width:
            parts.append([*key_columns])
        parts[-1].append(column)
    return parts


def narrow_columns(columns: Sequence[TextColumn], width: int) -> list[TextColumn]:
    """Return the columns of one part of a table, some of them narrower, so that a line holds them with one blank each.

    Texts become narrower first, then names; in a very narrow terminal both are cut at any letter. Numbers stay whole.
    """
    widths = [column.needed_width for column in columns]
    shrinking = [
        *((i, column.least_width) for i, column in enumerate(columns) if not column.right and not column.is_name),
        *((i, column.least_width) for i, column in enumerate(columns) if column.is_name),
        *((i, column.unbroken_width) for i, column in enumerate(columns)),
        *((i, LEAST_CUT) for i, column in enumerate(columns) if not column.right),
    ]
    for i, least in shrinking:
        excess = compute_table_width(widths, 1) - width
        widths[i] -= max(min(excess, widths[i] - least), 0)
    return [
        column if column_width == column.needed_width else _break_names(column, column_width)
        for column, column_width in zip(columns, widths, strict=True)
    ]


def _break_names(column: TextColumn, width: int) -> TextColumn:
    """Return the column with this width; if it holds names, in lines that end at their marks."""
    cells = [_break_name(cell, width) for cell in column.cells] if column.is_name else column.cells
    return replace(column, cells=cells, width=width)


def _break_name(name: str, limit: int) -> str:
    """Return a name in lines of at most `limit` characters if it has enough of the marks . _ - + / [ to break it at."""
    lines = [""]
    for piece in split_name(name):
        lines = (
            [*lines, piece] if lines[-1] and len(lines[-1]) + len(piece) > limit else [*lines[:-1], lines[-1] + piece]
        )
    return "\n".join(lines)
