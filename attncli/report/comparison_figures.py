"""Figures of compared runs: differences, accuracy against cost, learning curves; as PNG files and for the HTML page."""

import math
import statistics
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from attncli.analysis.comparison_row import ComparisonRow
from attncli.analysis.stats import MeanEstimate
from attncli.errors import UserError, unknown_name_error
from attncli.palette import COLOURS, FAINT, INK
from attncli.quantities import format_quantity
from attncli.records import Epoch
from attncli.report import comparison, layout
from attncli.report.canvas import EDGE, GAP, LINE
from attncli.report.inline_svg import add_tooltip, render_inline_svg
from attncli.report.style import label_points, saved_figure, styled_figure

CHART_WIDTH, CHART_HEIGHT = 5.2, 3.2  # inches of a figure on the page; its text is scaled with it
ROW_HEIGHT = 0.34  # inches of a variant in the figure of differences
MIN_POINTS = 0.5  # the least width of the axis of differences; smaller ones are noise
MAX_NAME = 24  # characters
TITLE_WIDTH = 62  # characters of a line above a panel
FRONT_NOTE = "dashed line: no cheaper variant is more accurate"
CROWDED = 3  # more points than this in the first twentieth of an axis: it is logarithmic
LEAST_DECADE = 1e-3  # of a logarithmic axis; smaller costs are near 0 there
SAME_PLACE = 0.01  # of a panel's width: intervals so near hide each other
BASELINE = "baseline"  # the verdict on a plain network
RunEpochs = Mapping[str, Sequence[Sequence[Epoch]]]  # the epochs of each run by variant


@dataclass(frozen=True)
class CostAxis:
    """A cost to set accuracy against: the label of its axis, its value for a row, the least width of the axis."""

    label: str
    value: Callable[[ComparisonRow], float | None]
    width: float  # if the axis were narrower, differences that do not matter would fill the figure


COST_AXES = {
    "params": CostAxis("parameters, % over the plain network", lambda r: r.params_pct, 0.5),
    "macs": CostAxis("multiply-accumulates, % over the plain network", lambda r: r.macs_pct, 0.5),
    "train-time": CostAxis("training time (plain network: 1)", lambda r: _invert_ratio(r.train_ratio), 0.1),
    "infer-time": CostAxis("inference time (plain network: 1)", lambda r: _invert_ratio(r.infer_ratio), 0.1),
}
CostPoint = tuple[float, ComparisonRow]


def _invert_ratio(value: float | None) -> float | None:
    return 1 / value if value else None


def _is_baseline(row: ComparisonRow) -> bool:
    return row.verdict == BASELINE


def choose_colours(rows: Sequence[ComparisonRow]) -> dict[str, str]:
    """Return the colour of each variant, the same in every figure of a table; variants beyond the sixth are grey."""
    variants = [row.variant for row in rows if not _is_baseline(row)]
    colours = dict(zip(variants, COLOURS, strict=False))
    return {row.variant: INK if _is_baseline(row) else colours.get(row.variant, FAINT) for row in rows}


def shorten_variant(name: str) -> str:
    """Return a variant's name; a long one without its middle, as options at its end tell variants apart."""
    kept = MAX_NAME // 2
    return name if len(name) <= MAX_NAME else f"{name[: kept - 1]}…{name[-kept:]}"


def draw_differences(rows: Sequence[ComparisonRow]) -> str:
    """Draw the differences to the plain network in points; the intervals hold for all variants together.

    Returns the figure as SVG, "" if no row has a difference.
    """
    compared_rows = [(row, row.difference) for row in rows if row.difference is not None]
    if not compared_rows:
        return ""
    colours, names = choose_colours(rows), [shorten_variant(row.variant) for row, _ in compared_rows]
    with styled_figure(CHART_WIDTH, 0.75 + ROW_HEIGHT * len(names), is_placed=True) as figure:
        bottom = EDGE + 2 * LINE
        left = 2 * EDGE + GAP + layout.measure_widest(figure, names, layout.NAME_SIZE + 1)
        right = 2 * GAP + layout.measure_widest(figure, ["+00.00"], layout.NAME_SIZE + 1)
        width, height = CHART_WIDTH - left - right, ROW_HEIGHT * len(names)
        axes = layout.add_panel(figure, left, bottom, width, height)
        for y, (row, difference) in enumerate(compared_rows):
            _draw_difference(axes, y, row, difference, colours[row.variant])
        axes.axvline(0, color=FAINT, linewidth=1, linestyle=(0, (3, 3)), zorder=1)
        _scale_difference_axes(axes, names)
        return render_inline_svg(figure, "Differences to the plain network")


def _scale_difference_axes(axes: Axes, names: Sequence[str]) -> None:
    """Label the rows with the names of the variants, and show at least `MIN_POINTS` of differences."""
    axes.set_yticks(range(len(names)), names, fontsize=10)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.margins(x=0.08)
    low, high = axes.get_xlim()
    lacking = max(0.0, MIN_POINTS - (high - low)) / 2
    axes.set_xlim(low - lacking, high + lacking)
    axes.set_xlabel("points of top-1 over the plain network")
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:+.4g}" if abs(value) > 1e-9 else "0"))


def _draw_difference(axes: Axes, y: int, row: ComparisonRow, difference: MeanEstimate, colour: str) -> None:
    """Draw a variant's difference in row `y`: its interval, a point, and its number at the right edge."""
    joint = row.joint
    if joint is not None and joint.low is not None and joint.high is not None and math.isfinite(joint.high):
        axes.plot([100 * joint.low, 100 * joint.high], [y, y], color=colour, linewidth=2.2)
    text, kind = comparison.format_difference(row), "fold" if row.folds else "seed"
    (point,) = axes.plot([100 * difference.mean], [y], "o", color=colour, markersize=7, zorder=3)
    add_tooltip(point, f"{row.variant}: {text} points over {format_quantity(difference.n, kind)}; {row.verdict}")
    axes.annotate(
        text.partition(" ±")[0], (1, y), (6, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
        va="center", annotation_clip=False,
    )  # fmt: skip


def draw_cost_chart(rows: Sequence[ComparisonRow], cost: str) -> str:
    """Draw accuracy with its interval against a cost of COST_AXES.

    Returns the figure as SVG, "" if fewer than two rows have the cost.
    """
    axis = COST_AXES[cost]
    points = _collect_cost_points(rows, axis)
    if len(points) < 2:
        return ""
    with styled_figure(CHART_WIDTH, CHART_HEIGHT, is_placed=True) as figure:
        left, bottom = EDGE + 3.2 * LINE, EDGE + 3 * LINE
        axes = layout.add_panel(figure, left, bottom, CHART_WIDTH - left - GAP, CHART_HEIGHT - bottom - GAP)
        _draw_costs(figure, axes, points, axis, choose_colours(rows))
        return render_inline_svg(figure, f"Accuracy against {axis.label}")


def draw_pareto(rows: Sequence[ComparisonRow], path: Path, cost: str = "params") -> None:
    """Draw accuracy with its interval against a cost, one panel per dataset, backbone and recipe.

    A line joins the variants that no cheaper one beats. Raises UserError for a cost that is not in COST_AXES, or if
    no row has it.
    """
    if cost not in COST_AXES:
        raise unknown_name_error("cost", cost, COST_AXES)
    axis = COST_AXES[cost]
    groups = [
        (title, group, points)
        for title, group in comparison.group_comparison_rows(rows)
        if (points := _collect_cost_points(group, axis))
    ]
    if not groups:
        raise UserError(f"no finished run has its {cost} measured", "`attncli run` measures it at the end of a run")
    grid_columns = min(3, len(groups))
    grid_rows = math.ceil(len(groups) / grid_columns)
    with saved_figure(path, 0.6 + 5.6 * grid_columns, 4.4 * grid_rows) as figure:
        panels = figure.subplots(grid_rows, grid_columns, squeeze=False).ravel()
        for axes, (title, group, points) in zip(panels, groups, strict=False):
            axes.set_title(textwrap.fill(title, TITLE_WIDTH))
            _draw_costs(figure, axes, points, axis, choose_colours(group))
        for axes in panels[len(groups) :]:
            axes.set_visible(False)


def _collect_cost_points(rows: Sequence[ComparisonRow], axis: CostAxis) -> list[CostPoint]:
    return [(cost, row) for row in rows if (cost := axis.value(row)) is not None]


def _draw_costs(
    figure: Figure, axes: Axes, points: Sequence[CostPoint], axis: CostAxis, colours: Mapping[str, str]
) -> None:
    """Draw the points with their intervals and names, and the line of those that no cheaper one beats."""
    spots, bars = [], []
    points = sorted(points, key=lambda p: (p[0], p[1].accuracy.mean))
    _scale_cost_axes(axes, [x for x, _ in points], axis)
    widths = widen_hidden_intervals([_locate_across(axes, x) for x, _ in points])
    for (x, row), width in zip(points, widths, strict=True):
        colour, top1 = colours[row.variant], 100 * row.accuracy.mean
        if row.accuracy.low is not None and row.accuracy.high is not None:
            bars.append((x, 100 * max(0.0, row.accuracy.low), 100 * min(1.0, row.accuracy.high)))
            axes.plot([x, x], bars[-1][1:], color=colour, alpha=0.4, linewidth=width, solid_capstyle="butt")
        (point,) = axes.plot([x], [top1], "s" if _is_baseline(row) else "o", color=colour, markersize=6, zorder=3)
        add_tooltip(point, f"{row.variant}: top-1 {comparison.format_top1(row)} %, cost {x:.4g}")
        spots.append((x, top1, shorten_variant(row.variant), colour))
    front = [(x, 100 * row.accuracy.mean) for x, row in find_pareto_front(points)]
    axes.plot(*zip(*front, strict=True), color=FAINT, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    axes.margins(y=0.15)
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, -2.0), min(high, 102.0))
    ends = [_locate_across(axes, x) for x, _ in (front[0], front[-1])]
    if ends[1] - ends[0] > SAME_PLACE:  # else the points cover the line
        axes.set_xlabel(f"{axis.label}\n{FRONT_NOTE}")
    label_points(figure, axes, spots, bars, front)


def _scale_cost_axes(axes: Axes, costs: Sequence[float], axis: CostAxis) -> None:
    """Leave room for the names beside the points; `costs` are sorted.

    The axis is logarithmic, with a linear part around 0, if one large cost would press most points together.
    """
    axes.set_xlabel(axis.label)
    axes.set_ylabel("test top-1, %")
    axes.tick_params(length=0)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:.4g}"))
    if costs[0] >= 0 and sum(0 <= cost < 0.05 * costs[-1] for cost in costs) > CROWDED:
        least = min((cost for cost in costs if cost > 0), default=1.0)
        decade = max(LEAST_DECADE, 10.0 ** math.floor(math.log10(least)))
        axes.set_xscale("symlog", linthresh=decade)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:.4g}"))
        axes.set_xlim(-0.7 * decade, 6 * costs[-1])
        return
    lacking = max(0.0, axis.width - (costs[-1] - costs[0]))
    room = 0.18 * max(axis.width, costs[-1] - costs[0])
    axes.set_xlim(costs[0] - room, costs[-1] + room + lacking)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))


def _locate_across(axes: Axes, cost: float) -> float:
    """Return where a cost stands, as a share of the panel's width from its left edge."""
    pixels, _ = axes.transData.transform((cost, 0.0))
    share, _ = axes.transAxes.inverted().transform((pixels, 0.0))
    return float(share)


def widen_hidden_intervals(places: Sequence[float]) -> list[float]:
    """Return the line width in points of each interval: those at (almost) one cost differ, so that each is seen.

    `places` are sorted, as shares of the panel's width. The points themselves stay at their cost.
    """
    line_widths = [1.2] * len(places)
    for i in range(len(places) - 2, -1, -1):
        if places[i + 1] - places[i] < SAME_PLACE:
            line_widths[i] = line_widths[i + 1] + 3.0
    return line_widths


def find_pareto_front(points: Sequence[CostPoint]) -> list[CostPoint]:
    """Return the points by cost that no other point beats in cost or accuracy without losing in the other."""
    front_points: list[CostPoint] = []
    for x, row in sorted(points, key=lambda p: (p[0], -p[1].accuracy.mean)):
        if not front_points or row.accuracy.mean > front_points[-1][1].accuracy.mean:
            front_points.append((x, row))
    return front_points


def draw_learning_curves(rows: Sequence[ComparisonRow], epochs: RunEpochs) -> str:
    """Draw validation accuracy by epoch: each variant's mean over seeds, and a band from the worst to the best seed.

    Returns the figure as SVG, "" if no variant has two validated epochs: a point is no curve.
    """
    bands = {row.variant: _compute_epoch_band(epochs.get(row.variant, ())) for row in rows}
    bands = {variant: band for variant, band in bands.items() if band}
    if max(map(len, bands.values()), default=0) < 2:
        return ""
    colours = choose_colours(rows)
    with styled_figure(CHART_WIDTH, CHART_HEIGHT, is_placed=True) as figure:
        axes = figure.add_axes((0, 0, 1, 1))
        spots = []
        for variant, band in bands.items():
            x, means, lows, highs = zip(*band, strict=True)
            axes.fill_between(x, lows, highs, color=colours[variant], alpha=0.16, linewidth=0)
            (line,) = axes.plot(x, means, color=colours[variant])
            add_tooltip(line, f"{variant}: {means[-1]:.2f} %")
            spots.append((x[-1], means[-1], shorten_variant(variant), colours[variant]))
        axes.set_xlabel("epoch")
        axes.set_ylabel("validation top-1, %")
        axes.tick_params(length=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.margins(x=0.02, y=0.06)
        layout.place_row(figure, [(axes, spots)], has_titles=False)
        return render_inline_svg(figure, "Learning curves")


def _compute_epoch_band(runs: Sequence[Sequence[Epoch]]) -> list[tuple[int, float, float, float]]:
    """Return (epoch, mean, lowest, highest) in percent for the epochs that every run has."""
    band = []
    for epochs in zip(*runs, strict=False):
        values = [100 * e.val_top1 for e in epochs if e.val_top1 is not None]
        if values:
            band.append((epochs[0].epoch, statistics.mean(values), min(values), max(values)))
    return band
