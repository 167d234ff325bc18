"""Rows as a table for people (terminal, Markdown) or for programs (CSV, JSON)."""

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from rich import box
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from attncli.errors import unknown_name_error
from attncli.report.column_layout import (
    TextColumn,
    compute_table_width,
    mark_last_commands,
    narrow_columns,
    split_columns,
)
from attncli.report.json_text import format_json
from attncli.system.terminal import find_terminal_width

FORMATS = ("table", "csv", "json", "markdown", "latex")
WIDTH = 80
MISSING = "-"
HOST_MARK = "*"  # at a ratio of speeds that the host limited, and not the GPU
LATEX_SIGNS = {"±": r"$\pm$ ", "<": "$<$", ">": "$>$", "~": r"$\sim$", "^": r"\^{}"}
R = TypeVar("R")


@dataclass(frozen=True)
class Column(Generic[R]):
    """A column for people: its heading, its cell for a row, and whether it is aligned to the right."""

    heading: str
    cell: Callable[[R], str]
    right: bool = True


def render_text_table(
    columns: Sequence[Column[R]], rows: Iterable[R], *, title: str = "", width: int = WIDTH, keys: Sequence[int] = (0,)
) -> str:
    """Return a plain-text table no wider than `width`; long names are broken over lines, numbers are not.

    Columns that do not fit beside the others follow in a further table below, so that nothing is lost. A command in the
    last column stays in one line, which is then wider: the terminal breaks it, and it can be copied.

    Args:
        columns: of the table.
        rows: one for each line.
        title: above it.
        width: of a line, in characters.
        keys: the numbers of the columns that name a row; if there are several tables, each begins with them, and with
            further ones if two rows have one name.
    """
    rows = list(rows)
    text_columns = [TextColumn(column.heading, [column.cell(row) for row in rows], column.right) for column in columns]
    text_columns, commands = mark_last_commands(text_columns)
    parts = split_columns(text_columns, width, keys)
    first, *others = [_print_table(part, title if part is parts[0] else "", width) for part in parts]
    text = "\n".join([first, *(text.removeprefix("\n") for text in others)])
    return text.translate(commands)


def _print_table(columns: Sequence[TextColumn], title: str, width: int) -> str:
    """Return one table, with two blanks between its columns if there is room."""
    needed_width = compute_table_width([column.needed_width for column in columns], 2)
    if needed_width > width:
        columns = narrow_columns(columns, width)
    file = io.StringIO()
    console = Console(file=file, width=width, color_system=None, legacy_windows=False)
    console.print(_build_table(columns, title, gap=2 if needed_width <= width else 1))
    return "\n".join(line.rstrip() for line in file.getvalue().strip("\n").splitlines())


def _build_table(columns: Sequence[TextColumn], title: str, gap: int) -> Table:
    """Return the table for a rich console, which would read square brackets and :names: in plain text as markup."""
    table = Table(box=box.SIMPLE_HEAD, title=Text(title) if title else None, title_justify="left", pad_edge=False)
    table.padding = (0, gap - 1, 0, 0)
    for column in columns:
        side: JustifyMethod = "right" if column.right else "left"
        table.add_column(Text(column.heading), justify=side, overflow="fold", no_wrap=column.right, width=column.width)
    for cells in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*map(Text, cells))
    return table


def render_markdown_table(columns: Sequence[Column[R]], rows: Iterable[R]) -> str:
    """Return the table as Markdown."""
    lines = [[c.heading for c in columns], ["---:" if c.right else "---" for c in columns]]
    lines += [[c.cell(row).replace("|", "\\|").replace("\n", " ") for c in columns] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def render_latex_table(columns: Sequence[Column[R]], rows: Iterable[R], *, comment: str = "") -> str:
    """Return the table as LaTeX with the rules of the package booktabs, after a comment."""
    body = [" & ".join(_escape_latex(column.cell(row)) for column in columns) + r" \\" for row in rows]
    return "\n".join(
        [
            *([f"% {comment}"] if comment else []),
            rf"\begin{{tabular}}{{{''.join('r' if column.right else 'l' for column in columns)}}}",
            r"\toprule",
            " & ".join(_escape_latex(column.heading) for column in columns) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )


def _escape_latex(text: str) -> str:
    """Return text for LaTeX: special letters escaped, ± and a leading minus as mathematics."""
    escaped = re.sub(r"([&%$#_{}])", r"\\\1", text.replace("\\", r"\textbackslash "))
    for letter, latex in LATEX_SIGNS.items():
        escaped = escaped.replace(letter, latex)
    return re.sub(r"^([-+])(?=[\d.])", r"$\1$", escaped)


def render_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return all fields of all rows as CSV, unrounded; lists as words, missing values empty."""
    file = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(file, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _join_values(value) for name, value in row.items()} for row in rows)
    return file.getvalue().rstrip("\n")


def _join_values(value: Any) -> Any:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else value


def make_plain_columns(rows: Sequence[Mapping[str, Any]]) -> list[Column[Mapping[str, Any]]]:
    """Return one column per field of the rows, numbers aligned to the right."""
    names = dict.fromkeys(name for row in rows for name in row)
    return [Column(name, _make_field_cell(name), _is_numeric(rows, name)) for name in names]


def _make_field_cell(name: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda row: format_cell_value(row.get(name))


def _is_numeric(rows: Sequence[Mapping[str, Any]], name: str) -> bool:
    return all(isinstance(row.get(name), int | float | None) for row in rows)


def format_cell_value(value: Any) -> str:
    """Return a value for people: four significant digits, thousands separated, lists as words."""
    if value is None or value == "":
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        text = f"{value:.4g}"
        return text if abs(float(text)) < 1e4 else f"{value:,.0f}"
    return str(_join_values(value))


def render_rows(rows: Sequence[Mapping[str, Any]], format_: str = "table", width: int = WIDTH) -> str:
    """Return rows in one of FORMATS. Raises UserError for another format."""
    if format_ == "csv":
        return render_csv(rows)
    if format_ == "json":
        return format_json(list(rows))
    if format_ == "markdown":
        return render_markdown_table(make_plain_columns(rows), rows)
    if format_ == "latex":
        return render_latex_table(make_plain_columns(rows), rows)
    if format_ == "table":
        return render_text_table(make_plain_columns(rows), rows, width=width)
    raise unknown_name_error("format", format_, FORMATS)


def print_rows(rows: Sequence[Mapping[str, Any]], *, empty: str = "nothing") -> None:
    """Print rows as a table on stdout, as wide as the terminal; print `empty` if there are none."""
    print(render_rows(rows, width=find_terminal_width()) if rows else empty)
