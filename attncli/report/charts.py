"""The charts of the report: differences with their intervals, accuracy against cost, learning curves."""

import statistics
from collections.abc import Callable, Mapping, Sequence

from attncli.analysis.compare import ComparisonRow
from attncli.records import Epoch
from attncli.report import comparison
from attncli.report.svg import COLOURS, AxisScale, SvgDrawing, draw_axes, fit_scale, separate_levels

LEFT, RIGHT, TOP, FOOT = 52.0, 100.0, 30.0, 44.0
CHART = 270.0


def series_class(position: int) -> str:
    """The class of a series by its place; 0 is the plain network."""
    return f"c{position}" if position <= COLOURS else "other"


def series_positions(rows: Sequence[ComparisonRow]) -> dict[str, int]:
    """The place of each variant in the order of colours, the same in every chart of a table."""
    variants = [r.variant for r in rows if r.verdict != "baseline"]
    return {r.variant: 0 for r in rows if r.verdict == "baseline"} | {name: i + 1 for i, name in enumerate(variants)}


def draw_forest(rows: Sequence[ComparisonRow]) -> str:
    """Differences to the plain network in points with their 95 % intervals; empty where there is none."""
    compared_rows = [r for r in rows if r.diff is not None]
    if not compared_rows:
        return ""
    ends = [0.0, *(100 * v for r in compared_rows for v in (r.diff, r.diff_low, r.diff_high) if v is not None)]
    x = fit_scale(ends, 120.0, 356.0, least=0.5)
    bottom = TOP + 28.0 * len(compared_rows)
    drawing = SvgDrawing(bottom + FOOT, "Differences to the plain network")
    for tick in x.tick_values(4):
        drawing.add_line(x(tick), TOP - 6, x(tick), bottom, "grid")
        drawing.add_text(x(tick), bottom + 12, f"{tick:+.{x.count_digits(4)}f}" if tick else "0", "tick", "middle")
    drawing.add_line(x(0), TOP - 10, x(0), bottom, "zero")
    for i, row in enumerate(compared_rows):
        _draw_interval(drawing, x, TOP + 28.0 * i + 10, row, series_class(series_positions(rows)[row.variant]))
    drawing.add_text((x.start + x.end) / 2, bottom + 32, "points of top-1 over the plain network", "name", "middle")
    return drawing.to_svg()


def _draw_interval(drawing: SvgDrawing, x: AxisScale, y: float, row: ComparisonRow, css_class: str) -> None:
    drawing.add_text(112, y, _shorten_variant(row.variant), "label", "end")
    if row.diff_low is not None and row.diff_high is not None:
        drawing.add_line(x(100 * row.diff_low), y, x(100 * row.diff_high), y, f"{css_class} bar")
    tooltip = f"{row.variant}: {comparison.format_difference(row)} points over {row.pairs} seeds; {row.verdict}"
    drawing.add_element("circle", title=tooltip, cx=x(100 * (row.diff or 0)), cy=y, r=5, cls=f"{css_class} dot")
    drawing.add_text(366, y, comparison.format_difference(row).partition(" ±")[0], "label")


RowCost = Callable[[ComparisonRow], float | None]


def draw_cost_chart(rows: Sequence[ComparisonRow], cost: RowCost, name: str) -> str:
    """Accuracy with its interval against a cost; empty where fewer than two rows have it."""
    costed_rows = sorted(((value, r) for r in rows if (value := cost(r)) is not None), key=lambda p: p[0])
    if len(costed_rows) < 2:
        return ""
    ends = [100 * v for _, r in costed_rows for v in (r.top1, r.top1_low, r.top1_high) if v is not None]
    x = fit_scale([value for value, _ in costed_rows], LEFT, 440.0 - RIGHT, least=0.1)
    y = fit_scale(ends, CHART - FOOT, TOP, least=0.5)
    drawing = SvgDrawing(CHART, f"Accuracy against {name}")
    draw_axes(drawing, x, y, (name, "test top-1, %"))
    positions = series_positions(rows)
    for value, row in costed_rows:
        css_class = series_class(positions[row.variant])
        if row.top1_low is not None and row.top1_high is not None:
            drawing.add_line(x(value), y(100 * row.top1_low), x(value), y(100 * row.top1_high), f"{css_class} bar thin")
        drawing.add_element(
            "circle", title=_point_tooltip(row, value), cx=x(value), cy=y(100 * row.top1), r=5, cls=f"{css_class} dot"
        )
    _draw_names(drawing, [(x(v), y(100 * r.top1), r) for v, r in costed_rows], positions)
    return drawing.to_svg()


def _point_tooltip(row: ComparisonRow, value: float) -> str:
    return f"{row.variant}: top-1 {comparison.format_top1(row)} %, cost {value:.4g}"


def _draw_names(
    drawing: SvgDrawing, spots: Sequence[tuple[float, float, ComparisonRow]], positions: Mapping[str, int]
) -> None:
    """Names at the right, level with their points and joined to them by a thin line."""
    spots = sorted(spots, key=lambda s: s[1])
    edge = drawing.width - RIGHT + 8
    for (x, y, row), level in zip(spots, separate_levels([s[1] for s in spots]), strict=True):
        drawing.add_line(x + 6, y, edge, level, "lead")
        drawing.add_text(
            edge + 4, level, _shorten_variant(row.variant), f"label t{series_class(positions[row.variant])}"
        )


def draw_learning_curves(rows: Sequence[ComparisonRow], epochs: Mapping[str, Sequence[Sequence[Epoch]]]) -> str:
    """Validation accuracy by epoch: the mean over seeds of each variant, and a band from the worst to the best.

    `epochs` are the epochs of each run by variant. Empty where no run has any.
    """
    series = {r.variant: _epoch_band(epochs.get(r.variant, ())) for r in rows}
    series = {name: band for name, band in series.items() if band}
    if not series:
        return ""
    values = [v for band in series.values() for _, *heights in band for v in heights]
    x = fit_scale([float(p[0]) for band in series.values() for p in band], LEFT, 440.0 - RIGHT, room=0.02)
    y = fit_scale(values, CHART - FOOT, TOP, least=1.0)
    drawing = SvgDrawing(CHART, "Learning curves")
    draw_axes(drawing, x, y, ("epoch", "validation top-1, %"))
    positions = series_positions(rows)
    for name, band in series.items():
        css_class = series_class(positions[name])
        edge = [(e, high) for e, _, _, high in band] + [(e, low) for e, _, low, _ in reversed(band)]
        drawing.add_element("polygon", points=_format_path(edge, x, y), cls=f"{css_class} band")
    for name, band in series.items():
        css_class = series_class(positions[name])
        tooltip = f"{name}: {band[-1][1]:.2f} %"
        drawing.add_element(
            "polyline", title=tooltip, points=_format_path([(e, m) for e, m, *_ in band], x, y), cls=f"{css_class} line"
        )
    ends = sorted((y(band[-1][1]), name) for name, band in series.items())
    for (_, name), level in zip(ends, separate_levels([end for end, _ in ends]), strict=True):
        drawing.add_text(
            drawing.width - RIGHT + 8, level, _shorten_variant(name), f"label t{series_class(positions[name])}"
        )
    return drawing.to_svg()


def _epoch_band(runs: Sequence[Sequence[Epoch]]) -> list[tuple[int, float, float, float]]:
    """(epoch, mean, lowest, highest) in percent for the epochs that every run has."""
    band = []
    for epochs in zip(*runs, strict=False):
        values = [100 * e.val_top1 for e in epochs if e.val_top1 is not None]
        if values:
            band.append((epochs[0].epoch, statistics.mean(values), min(values), max(values)))
    return band


def _format_path(points: Sequence[tuple[float, float]], x: AxisScale, y: AxisScale) -> str:
    return " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in points)


def _shorten_variant(name: str) -> str:
    return name if len(name) <= 15 else name[:14] + "…"
