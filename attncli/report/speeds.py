"""Tables of the speeds that attncli brings: one per network and conditions, the fastest training first."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from attncli.analysis.shipped_speeds import SpeedRecord
from attncli.quantities import format_quantity
from attncli.report.comparison import wrap_text
from attncli.report.table import MISSING, Column, render_text_table

BUSY_MARK = "+"
CHANGED_MARK = "~"
PhaseRecords = Mapping[str, SpeedRecord]  # of one mechanism, by phase


def render_speeds(records: Sequence[SpeedRecord], changed: Iterable[tuple[str, str]], width: int) -> str:
    """Return the tables, each below the conditions that its ratios share.

    Args:
        records: The speeds.
        changed: The hashes of code (`SpeedRecord.code`) that is no longer today's.
        width: Of the terminal, in columns.
    """
    changed = frozenset(changed)
    tables = [
        _render_table(list(of_table), changed, width)
        for _, of_table in groupby(sorted(records, key=_sort_key), key=lambda record: record.conditions)
    ]
    return "\n\n".join(tables)


def _sort_key(record: SpeedRecord) -> tuple[Any, ...]:
    return tuple(map(str, record.conditions))


def _render_table(records: Sequence[SpeedRecord], changed: frozenset[tuple[str, str]], width: int) -> str:
    by_attn: dict[str, dict[str, SpeedRecord]] = {}
    for record in records:
        by_attn.setdefault(record.attn, {})[record.phase] = record
    rows = sorted(by_attn.values(), key=_compute_rank, reverse=True)
    columns: list[Column[PhaseRecords]] = [
        Column("attention", lambda row: _name_row(row, changed), right=False),
        Column("train", lambda row: _format_ratio(row, "train")),
        Column("95 % interval", lambda row: _format_interval(row, "train")),
        Column("infer", lambda row: _format_ratio(row, "infer")),
        Column("95 % interval", lambda row: _format_interval(row, "infer")),
    ]
    table = render_text_table(columns, rows, width=width).strip("\n")
    conditions = [wrap_text(line, width) for line in _list_timing_conditions(records)]
    marks = [wrap_text(line, width) for line in _explain_marks(rows, changed)]
    return "\n".join([*conditions, "", table, *marks])


def _compute_rank(row: PhaseRecords) -> float:
    return row["train"].ratio if "train" in row else next(iter(row.values())).ratio


def _name_row(row: PhaseRecords, changed: frozenset[tuple[str, str]]) -> str:
    record = next(iter(row.values()))
    is_busy = not all(r.is_quiet for r in row.values())
    return f"{record.attn}{BUSY_MARK if is_busy else ''}{CHANGED_MARK if record.code in changed else ''}"


def _format_ratio(row: PhaseRecords, phase: str) -> str:
    return f"{row[phase].ratio:.2f}" if phase in row else MISSING


def _format_interval(row: PhaseRecords, phase: str) -> str:
    return f"{row[phase].low:.2f} to {row[phase].high:.2f}" if phase in row else MISSING


def _list_timing_conditions(records: Sequence[SpeedRecord]) -> list[str]:
    """Return lines with the network, its images, the machine, and how it was timed."""
    first = records[0]
    backbone, size, classes, *_ = first.network.split()
    machine = first.machine
    processor = machine.get("gpu") or f"{machine.get('cpu')}, {format_quantity(first.threads, 'thread')}"
    days = sorted({record.measured_at[:10] for record in records})
    return [
        f"{backbone}, {size} px, {classes} classes, batch {first.batch_size}, {first.precision}: {processor}, "
        f"torch {machine.get('torch')}, {' to '.join(sorted({days[0], days[-1]}))}",
        f"Throughput over that of the plain network (below 1 is slower), {first.processes} processes of "
        f"{first.repeats} or more pairs each",
    ]


def _explain_marks(rows: Sequence[PhaseRecords], changed: frozenset[tuple[str, str]]) -> list[str]:
    names = "".join(_name_row(row, changed) for row in rows)
    lines = []
    if BUSY_MARK in names:
        lines.append(f"{BUSY_MARK} Other programs kept cores busy meanwhile.")
    if CHANGED_MARK in names:
        lines.append(f"{CHANGED_MARK} Timed with earlier code of the mechanism, or of what it imports.")
    return lines
