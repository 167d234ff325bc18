"""What mechanisms cost, as tables: placed ones beside the plain network, whole networks by figures of their own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from textwrap import fill

from attncli.measure.compare import Overhead
from attncli.records import Cost, Speed
from attncli.report.table import Column, text
from attncli.survey import published
from attncli.survey.published import Match, Network, Row

MIB = 2**20


@dataclass(frozen=True)
class Measured:
    """What was measured on which network: its backbone, classes, size of the images, frames where clips were used."""

    rows: Sequence[Overhead]
    backbone: str
    classes: int
    size: int
    frames: int

    @property
    def placed(self) -> list[tuple[Overhead, Cost]]:
        """Mechanisms in the backbone, and the plain network where it was asked for."""
        return [(row, row.cost) for row in self.rows if row.cost and row.site != "model"]

    @property
    def whole(self) -> list[tuple[Overhead, Cost]]:
        """Mechanisms that are the whole network."""
        return [(row, row.cost) for row in self.rows if row.cost and row.site == "model"]

    @property
    def clips(self) -> list[str]:
        """The mechanisms that were measured on clips."""
        return [row.attn for row, _ in self.placed if row.site.startswith("frames")]

    @property
    def timed(self) -> bool:
        """Whether anything was timed."""
        return any(row.speed for row in self.rows)


def tables(measured: Measured, width: int) -> str:
    """Both tables, then what does not fit with the reason, then the published parameters that can be compared."""
    parts = []
    if measured.placed:
        parts.append(text(_columns(measured.timed), measured.placed, width=width).strip("\n"))
    if measured.whole:
        parts.append(_whole(measured, width))
    parts += [fill(f"{row.attn} is left out: {row.problem}", width) for row in measured.rows if row.problem]
    if told := _published(measured):
        parts.append(fill(told, width))
    return "\n\n".join(parts)


Line = tuple[Overhead, Cost]


def _columns(timed: bool) -> list[Column[Line]]:
    """A placed mechanism's columns; where speed is known, element-wise work, which only hints at it, is left out."""
    columns: list[Column[Line]] = [
        Column("attn", lambda line: line[0].attn, right=False),
        Column("site", lambda line: line[0].site, right=False),
        Column("added", lambda line: f"{line[1].params - line[1].baseline_params:+,}"),
        Column("params", _share("params")),
        Column("MACs", _share("macs")),
        Column("elem.", _share("elementwise")),
        Column("memory", _share("activation_bytes")),
    ]
    if timed:
        columns[5:6] = []
        columns += [Column("train", _ratio("train_ratio")), Column("infer", _ratio("infer_ratio"))]
    return columns


def _share(name: str) -> Callable[[Line], str]:
    def cell(line: Line) -> str:
        percent = line[1].percent(name)
        return f"{percent:+.{2 if abs(percent) < 10 else 1}f}%"

    return cell


def _ratio(name: str) -> Callable[[Line], str]:
    return lambda line: f"{getattr(line[0].speed, name):.2f}" if line[0].speed else "-"


def _whole(measured: Measured, width: int) -> str:
    """Whole networks: no overhead over a backbone, for they have none, but the plain network is there for scale."""
    _, first = measured.whole[0]
    rows: list[tuple[str, Cost, Speed | None]] = [(f"{measured.backbone}, plain", _baseline(first), None)]
    rows += [(row.attn, cost, row.speed) for row, cost in measured.whole]
    unit, letter = _unit(first)
    columns: list[Column[tuple[str, Cost, Speed | None]]] = [
        Column("whole network", lambda row: row[0], right=False),
        Column("params", lambda row: f"{row[1].params:,}"),
        Column(f"{letter}MACs", lambda row: f"{row[1].macs / unit:,.3f}"),
        Column("M elem.", lambda row: f"{row[1].elementwise / 1e6:,.2f}"),
        Column("MiB", lambda row: f"{row[1].activation_bytes / MIB:,.2f}"),
    ]
    if measured.timed:
        columns += [
            Column("train", lambda row: f"{row[2].train_ratio:.2f}" if row[2] else "1.00"),
            Column("infer", lambda row: f"{row[2].infer_ratio:.2f}" if row[2] else "1.00"),
        ]
    return text(columns, rows, width=width).strip("\n")


def _unit(cost: Cost) -> tuple[float, str]:
    """In what to write MACs, by those of the plain network."""
    return (1e9, "G") if cost.baseline_macs >= 1e9 else (1e6, "M")


def _baseline(cost: Cost) -> Cost:
    """The plain network's own figures."""
    return replace(
        cost,
        params=cost.baseline_params,
        macs=cost.baseline_macs,
        elementwise=cost.baseline_elementwise,
        activation_bytes=cost.baseline_activation_bytes,
    )


def _published(measured: Measured) -> str:
    """Which of these counts the literature prints too, each as precisely as it is printed anywhere."""
    found = []
    for row, cost in (*measured.placed, *measured.whole):
        agreeing = [p for p in _printed(row, measured) if published.agrees(p, cost.params)]
        if agreeing:
            found.append(f"{row.attn} {max(map(_figure, agreeing), key=_precision)}")
    return f"In print, in millions of parameters, equal to these: {', '.join(found)}." if found else ""


def _precision(figure: str) -> int:
    """Digits of a figure; one in another unit counts for less than any other."""
    return -1 if " " in figure else len(figure)


def _printed(row: Overhead, measured: Measured) -> list[Row]:
    """Published rows about this very network: the same classes, image size and options."""
    frames = measured.frames if row.attn in measured.clips else None
    wanted = Network(
        backbone=measured.backbone, attn=row.attn, classes=measured.classes, size=measured.size, frames=frames
    )
    return [
        p
        for p in published.rows()
        if isinstance(p.match, Match)
        and not p.match.plus
        and (p.match.network == wanted or (row.site == "model" and _unnamed(p.match.network) == _unnamed(wanted)))
    ]


def _unnamed(network: Network) -> Network:
    """A whole network's backbone is but a label."""
    return replace(network, backbone="")


def _figure(row: Row) -> str:
    assert isinstance(row.match, Match)
    if "params" in row.figures:
        return f"{row.figures['params'] / 1e6:.6f}"
    return f"{row.figures['params_m']}{' (of 2^20)' if row.match.unit == MIB else ''}"


def caption(measured: Measured) -> str:
    """What the columns mean, and what they are over."""
    told = [f"Images of {measured.size} px."]
    base = next((c for r, c in measured.placed if r.attn not in measured.clips), None)
    if measured.placed:
        sizes = ""
        if base:
            unit, letter = _unit(base)
            sizes = f" ({base.baseline_params:,} parameters, {base.baseline_macs / unit:.3f} {letter}MACs)"
        told.append(
            f"Over plain {measured.backbone}{sizes}: parameters added, then the rise of parameters, "
            f"multiply-accumulates, {'' if measured.timed else 'elements that other operations write, '}and memory "
            "kept for the backward pass."
        )
    if measured.clips:
        told.append(
            f"{' and '.join(measured.clips)}: of clips of {measured.frames} frames, over the same network averaging "
            "its frames."
        )
    if measured.whole:
        told.append(f"Whole networks have no backbone: their own figures, with plain {measured.backbone} for scale.")
    if measured.timed:
        told.append(
            f"train and infer: throughput over that of plain {measured.backbone}, timed in turn; below 1 is slower."
        )
    return " ".join(told)
