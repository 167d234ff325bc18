"""Rows as a table for people (terminal, Markdown) or for programs (CSV, JSON)."""

import csv
import io
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, TypeVar

from rich import box
from rich.console import Console, JustifyMethod
from rich.measure import Measurement
from rich.table import Table

from attncli.errors import unknown_name_error
from attncli.report.json_text import format_json

FORMATS = ("table", "csv", "json", "markdown", "latex")
WIDTH = 80
LEAST_TEXT_WIDTH = 30  # characters to which a column of text is narrowed before names are broken
MISSING = "-"
HOST_MARK = "*"  # at a ratio of speeds that the host limited, and not the GPU
R = TypeVar("R")


@dataclass(frozen=True)
class Column(Generic[R]):
    """A column for people: its heading, its cell for a row, and whether it is aligned to the right."""

    heading: str
    cell: Callable[[R], str]
    right: bool = True


def render_text_table(columns: Sequence[Column[R]], rows: Iterable[R], *, title: str = "", width: int = WIDTH) -> str:
    """Return a plain-text table no wider than `width`: texts are wrapped, then names are broken, numbers never."""
    file = io.StringIO()
    console = Console(file=file, width=width, color_system=None, legacy_windows=False)
    rows = list(rows)
    table = build_table(columns, rows, title=title)
    if _measure_width(console, table) > width:
        table.padding = (0, 0, 0, 0)
        wrap_any_text = partial(_wrap_widest_text, least=1)
        for narrow_column in (_wrap_widest_text, _break_longest_names, wrap_any_text):
            excess = _measure_width(console, table) - width
            if excess > 0:
                columns = narrow_column(columns, rows, excess)
                table = build_table(columns, rows, title=title)
                table.padding = (0, 0, 0, 0)
    console.print(table)
    return "\n".join(line.rstrip() for line in file.getvalue().strip("\n").splitlines())


def _measure_width(console: Console, table: Table) -> int:
    return Measurement.get(console, console.options.update(max_width=1000), table).maximum


def _wrap_widest_text(
    columns: Sequence[Column[R]], rows: Sequence[R], excess: int, least: int = LEAST_TEXT_WIDTH
) -> list[Column[R]]:
    """Return the columns, the widest one of texts narrower by `excess`, but not below `least`, broken at spaces."""
    widths = {
        i: max(len(line) for cell in cells for line in cell.splitlines() or [""])
        for i, column in enumerate(columns)
        if not column.right and (cells := [column.cell(row) for row in rows]) and any(" " in c for c in cells)
    }
    if not widths:
        return list(columns)
    widest = max(widths, key=lambda i: widths[i])
    column, limit = columns[widest], max(widths[widest] - excess, least)
    wrapped = replace(column, cell=lambda row: _wrap_text(column.cell(row), limit))
    return [wrapped if i == widest else c for i, c in enumerate(columns)]


def _wrap_text(text: str, limit: int) -> str:
    return textwrap.fill(text, limit, break_long_words=False, break_on_hyphens=False)


def _break_longest_names(columns: Sequence[Column[R]], rows: Sequence[R], excess: int) -> list[Column[R]]:
    """Return the columns, the one with the longest names narrower by `excess`, its names broken at their marks.

    A column of names has no spaces, at which any text is broken.
    """
    widths = {
        i: max(map(len, cells))
        for i, column in enumerate(columns)
        if not column.right and (cells := [column.cell(row) for row in rows]) and not any(" " in c for c in cells)
    }
    if not widths:
        return list(columns)
    longest = max(widths, key=lambda i: widths[i])
    column, limit = columns[longest], max(widths[longest] - excess, len(columns[longest].heading))
    broken = replace(column, cell=lambda row: _break_name(column.cell(row), limit))
    return [broken if i == longest else c for i, c in enumerate(columns)]


def split_name(name: str) -> list[str]:
    """Return the pieces of a name between which a line may end: after . _ - + / and before [, in no number."""
    return re.split(r"(?<=[_+/-])|(?=\[)|(?<=\.)(?!\d)", name)


def _break_name(name: str, limit: int) -> str:
    """Return a name in lines of at most `limit` characters if it has enough of the marks . _ - + / [ to break it at."""
    lines = [""]
    for piece in split_name(name):
        lines = (
            [*lines, piece] if lines[-1] and len(lines[-1]) + len(piece) > limit else [*lines[:-1], lines[-1] + piece]
        )
    return "\n".join(lines)


def build_table(columns: Sequence[Column[R]], rows: Iterable[R], *, title: str = "") -> Table:
    """Return the table for a rich console."""
    table = Table(box=box.SIMPLE_HEAD, title=title or None, title_justify="left", title_style="bold", pad_edge=False)
    table.padding = (0, 1, 0, 0)
    for column in columns:
        side: JustifyMethod = "right" if column.right else "left"
        table.add_column(column.heading, justify=side, overflow="fold", no_wrap=column.right)
    for row in rows:
        table.add_row(*(_escape_markup(column.cell(row)) for column in columns))
    return table


def _escape_markup(cell: str) -> str:
    """Escape square brackets, which would be rich's markup."""
    return cell.replace("[", "\\[")


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
    escaped = escaped.replace("±", r"$\pm$ ").replace("<", "$<$").replace("~", r"$\sim$")
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
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
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
    console = Console()
    if rows:
        print(render_rows(rows, width=console.width))
    else:
        print(empty)
