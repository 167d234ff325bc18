"""The comparison as a table: accuracy, difference to the baseline, cost, and the verdict."""

from collections.abc import Sequence
from itertools import groupby

from attncli.analysis import stats
from attncli.analysis.comparison_row import ComparisonRow
from attncli.report import table
from attncli.report.comparison_cells import (
    format_difference,
    format_overhead,
    format_p_value,
    format_ratio,
    format_seed_count,
    format_top1,
)
from attncli.report.comparison_note import Spread, describe_spread, explain_columns
from attncli.report.comparison_remarks import describe_limit, list_remarks
from attncli.report.table import HOST_MARK, WIDTH, Column
from attncli.system.terminal import fill_text

MARKDOWN_HOST_MARK = "\\*"  # a list would begin with the mark itself


def render_comparison(
    rows: Sequence[ComparisonRow],
    format_: str = "table",
    width: int = WIDTH,
    columns: Sequence[Column[ComparisonRow]] | None = None,
    spread: Spread = "ci",
) -> str:
    """Return the comparison as text.

    Args:
        rows: The variants.
        format_: One of `table.FORMATS`.
        width: Columns of the terminal, for `table`.
        columns: What to show instead of COLUMNS; CSV and JSON always have everything.
        spread: What these columns have after ±.

    Raises:
        UserError: Another format.
    """
    columns, note = columns or COLUMNS, explain_columns(rows, spread)
    groups = group_comparison_rows(rows)
    if format_ == "table":
        return "\n\n".join(
            [*(_render_group(title, part, width, columns) for title, part in groups), wrap_text(note, width)]
        )
    if format_ == "markdown":
        return "\n\n".join([*(_render_markdown(title, part, columns) for title, part in groups), note])
    if format_ == "latex":
        return "\n\n".join(_render_latex(title, part, columns, spread) for title, part in groups)
    return table.render_rows([row.to_json_dict() for row in rows], format_)


def _render_markdown(title: str, rows: Sequence[ComparisonRow], columns: Sequence[Column[ComparisonRow]]) -> str:
    seeds = _list_unequal_seeds(columns, rows)
    blocks = [f"### {title}", table.render_markdown_table([*columns, VERDICT], rows), *([seeds] if seeds else [])]
    if remarks := list_remarks(rows):
        blocks.append("\n".join(f"- {remark.replace(HOST_MARK, MARKDOWN_HOST_MARK)}" for remark in remarks))
    return "\n\n".join(blocks)


def _render_latex(
    title: str, rows: Sequence[ComparisonRow], columns: Sequence[Column[ComparisonRow]], spread: Spread
) -> str:
    seeds = _list_unequal_seeds(columns, rows)
    is_marked = any(column.cell(row).endswith(HOST_MARK) for column in columns for row in rows)
    limit = describe_limit(rows) if is_marked else []
    comment = "; ".join([title, f"after ±: {describe_spread(rows, spread)}", *([seeds] if seeds else []), *limit])
    return table.render_latex_table(columns, rows, comment=comment)


def _list_unequal_seeds(columns: Sequence[Column[ComparisonRow]], rows: Sequence[ComparisonRow]) -> str:
    """Return the seeds of each variant if they differ and no column shows them, else an empty text."""
    counts = [format_seed_count(row) for row in rows]
    if len(set(counts)) == 1 or any(column.heading == "n" for column in columns):
        return ""
    return f"seeds: {', '.join(f'{row.variant} {count}' for row, count in zip(rows, counts, strict=True))}"


def group_comparison_rows(rows: Sequence[ComparisonRow]) -> list[tuple[str, list[ComparisonRow]]]:
    """Return (title, rows) for each dataset, backbone and recipe."""
    return [(title, list(part)) for title, part in groupby(rows, _format_title)]


def _format_title(row: ComparisonRow) -> str:
    part = f" (a part: {row.part})" if row.part else ""
    recipe = f" ({row.recipe})" if row.recipe else ""
    return f"{row.images}{part}, {row.backbone}{recipe}"


def _render_group(
    title: str, rows: Sequence[ComparisonRow], width: int, columns: Sequence[Column[ComparisonRow]]
) -> str:
    """Return a table and below it the verdicts, variants with the same verdict together."""
    verdicts: dict[str, list[str]] = {}
    for row in rows:
        if row.verdict != "baseline":
            verdicts.setdefault(row.verdict, []).append(row.variant)
    lines = [wrap_text(f"{', '.join(names)}: {verdict}", width) for verdict, names in verdicts.items()]
    lines += [wrap_text(line, width) for line in list_remarks(rows)]
    return "\n".join([table.render_text_table(columns, rows, title=title, width=width), *lines])


def wrap_text(text: str, width: int) -> str:
    """Return a paragraph in lines of `width` characters, the second and further ones indented."""
    return fill_text(text, width, later="  ")


COLUMNS: list[Column[ComparisonRow]] = [
    Column("attention", lambda r: r.variant, right=False),
    Column("n", format_seed_count),
    Column("top-1", format_top1),
    Column("diff", format_difference),
    Column("p", lambda r: format_p_value(r.joint.p if r.joint else None, r.level or stats.ALPHA)),
    Column("params", lambda r: format_overhead(r.params_pct)),
    Column("MACs", lambda r: format_overhead(r.macs_pct)),
    Column("train", lambda r: format_ratio(r.train_ratio, r.train_limit)),
    Column("infer", lambda r: format_ratio(r.infer_ratio, r.infer_limit)),
]
VERDICT: Column[ComparisonRow] = Column("verdict", lambda r: r.verdict, right=False)
