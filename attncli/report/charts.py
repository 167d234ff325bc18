"""The charts of the report: differences with their intervals, accuracy against cost, learning curves."""

import statistics
from collections.abc import Callable, Mapping, Sequence

from attncli.records import Epoch
from attncli.report import comparison
from attncli.report.svg import COLOURS, Drawing, Scale, apart, axes, scale
from attncli.survey.compare import Row

LEFT, RIGHT, TOP, FOOT = 52.0, 100.0, 30.0, 44.0
CHART = 270.0


def colour(place: int) -> str:
    """The class of a series by its place; 0 is the plain network."""
    return f"c{place}" if place <= COLOURS else "other"


def places(rows: Sequence[Row]) -> dict[str, int]:
    """The place of each variant in the order of colours, the same in every chart of a table."""
    variants = [r.variant for r in rows if r.verdict != "baseline"]
    return {r.variant: 0 for r in rows if r.verdict == "baseline"} | {name: i + 1 for i, name in enumerate(variants)}


def forest(rows: Sequence[Row]) -> str:
    """Differences to the plain network in points with their 95 % intervals; empty where there is none."""
    told = [r for r in rows if r.diff is not None]
    if not told:
        return ""
    ends = [0.0, *(100 * v for r in told for v in (r.diff, r.diff_low, r.diff_high) if v is not None)]
    x = scale(ends, 120.0, 356.0, least=0.5)
    bottom = TOP + 28.0 * len(told)
    drawing = Drawing(bottom + FOOT, "Differences to the plain network")
    for tick in x.ticks(4):
        drawing.line(x(tick), TOP - 6, x(tick), bottom, "grid")
        drawing.text(x(tick), bottom + 12, f"{tick:+.{x.digits(4)}f}" if tick else "0", "tick", "middle")
    drawing.line(x(0), TOP - 10, x(0), bottom, "zero")
    for i, row in enumerate(told):
        _interval(drawing, x, TOP + 28.0 * i + 10, row, colour(places(rows)[row.variant]))
    drawing.text((x.start + x.end) / 2, bottom + 32, "points of top-1 over the plain network", "name", "middle")
    return drawing.svg()


def _interval(drawing: Drawing, x: Scale, y: float, row: Row, cls: str) -> None:
    drawing.text(112, y, _short(row.variant), "label", "end")
    if row.diff_low is not None and row.diff_high is not None:
        drawing.line(x(100 * row.diff_low), y, x(100 * row.diff_high), y, f"{cls} bar")
    told = f"{row.variant}: {comparison.diff(row)} points over {row.pairs} seeds; {row.verdict}"
    drawing.add("circle", title=told, cx=x(100 * (row.diff or 0)), cy=y, r=5, cls=f"{cls} dot")
    drawing.text(366, y, comparison.diff(row).partition(" ±")[0], "label")


Cost = Callable[[Row], float | None]


def against(rows: Sequence[Row], cost: Cost, name: str) -> str:
    """Accuracy with its interval against a cost; empty where fewer than two rows have it."""
    told = sorted(((value, r) for r in rows if (value := cost(r)) is not None), key=lambda p: p[0])
    if len(told) < 2:
        return ""
    ends = [100 * v for _, r in told for v in (r.top1, r.top1_low, r.top1_high) if v is not None]
    x = scale([value for value, _ in told], LEFT, 440.0 - RIGHT, least=0.1)
    y = scale(ends, CHART - FOOT, TOP, least=0.5)
    drawing = Drawing(CHART, f"Accuracy against {name}")
    axes(drawing, x, y, (name, "test top-1, %"))
    order = places(rows)
    for value, row in told:
        cls = colour(order[row.variant])
        if row.top1_low is not None and row.top1_high is not None:
            drawing.line(x(value), y(100 * row.top1_low), x(value), y(100 * row.top1_high), f"{cls} bar thin")
        drawing.add("circle", title=_point(row, value), cx=x(value), cy=y(100 * row.top1), r=5, cls=f"{cls} dot")
    _named(drawing, [(x(v), y(100 * r.top1), r) for v, r in told], order)
    return drawing.svg()


def _point(row: Row, value: float) -> str:
    return f"{row.variant}: top-1 {comparison.top1(row)} %, cost {value:.4g}"


def _named(drawing: Drawing, spots: Sequence[tuple[float, float, Row]], order: Mapping[str, int]) -> None:
    """Names at the right, level with their points and joined to them by a thin line."""
    spots = sorted(spots, key=lambda s: s[1])
    edge = drawing.width - RIGHT + 8
    for (x, y, row), level in zip(spots, apart([s[1] for s in spots]), strict=True):
        drawing.line(x + 6, y, edge, level, "lead")
        drawing.text(edge + 4, level, _short(row.variant), f"label t{colour(order[row.variant])}")


def curves(rows: Sequence[Row], epochs: Mapping[str, Sequence[Sequence[Epoch]]]) -> str:
    """Validation accuracy by epoch: the mean over seeds of each variant, and a band from the worst to the best.

    `epochs` are the epochs of each run by variant. Empty where no run has any.
    """
    series = {r.variant: _band(epochs.get(r.variant, ())) for r in rows}
    series = {name: band for name, band in series.items() if band}
    if not series:
        return ""
    values = [v for band in series.values() for _, *found in band for v in found]
    x = scale([float(p[0]) for band in series.values() for p in band], LEFT, 440.0 - RIGHT, room=0.02)
    y = scale(values, CHART - FOOT, TOP, least=1.0)
    drawing = Drawing(CHART, "Learning curves")
    axes(drawing, x, y, ("epoch", "validation top-1, %"))
    order = places(rows)
    for name, band in series.items():
        cls = colour(order[name])
        edge = [(e, high) for e, _, _, high in band] + [(e, low) for e, _, low, _ in reversed(band)]
        drawing.add("polygon", points=_path(edge, x, y), cls=f"{cls} band")
    for name, band in series.items():
        cls = colour(order[name])
        told = f"{name}: {band[-1][1]:.2f} %"
        drawing.add("polyline", title=told, points=_path([(e, m) for e, m, *_ in band], x, y), cls=f"{cls} line")
    ends = sorted((y(band[-1][1]), name) for name, band in series.items())
    for (_, name), level in zip(ends, apart([end for end, _ in ends]), strict=True):
        drawing.text(drawing.width - RIGHT + 8, level, _short(name), f"label t{colour(order[name])}")
    return drawing.svg()


def _band(runs: Sequence[Sequence[Epoch]]) -> list[tuple[int, float, float, float]]:
    """(epoch, mean, lowest, highest) in percent for the epochs that every run has."""
    found = []
    for epochs in zip(*runs, strict=False):
        values = [100 * e.val_top1 for e in epochs if e.val_top1 is not None]
        if values:
            found.append((epochs[0].epoch, statistics.mean(values), min(values), max(values)))
    return found


def _path(points: Sequence[tuple[float, float]], x: Scale, y: Scale) -> str:
    return " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in points)


def _short(name: str) -> str:
    return name if len(name) <= 15 else name[:14] + "…"
