"""Figures of accuracy against cost; as files and for the HTML page."""

import math
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from attncli.analysis.comparison_row import ComparisonRow
from attncli.errors import UserError, unknown_name_error
from attncli.palette import FAINT
from attncli.report import comparison, comparison_cells, layout
from attncli.report.canvas import EDGE, GAP, LINE
from attncli.report.inline_svg import add_tooltip, render_inline_svg
from attncli.report.style import label_points, saved_figure, styled_figure
from attncli.report.variant_style import choose_colours, choose_named_variants, is_baseline, shorten_variant

WIDTH, HEIGHT = 5.2, 3.2  # inches of a figure on the page; its text is scaled with it
TITLE_WIDTH = 62  # characters of a line above a panel
FRONT_NOTE = "dashed line: no cheaper variant is more accurate"
CROWDED = 3  # more points than this in the first twentieth of an axis: it is logarithmic
MOST_DECADES = 6  # ticks of a logarithmic axis
LEAST_DECADE = 1e-3  # of a logarithmic axis; smaller costs are near 0 there
SAME_PLACE = 0.01  # of a panel's width: intervals so near hide each other


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


def draw_cost_chart(rows: Sequence[ComparisonRow], cost: str) -> str:
    """Draw accuracy with its interval against a cost of COST_AXES.

    Returns the figure as SVG, "" if fewer than two rows have the cost.
    """
    axis = COST_AXES[cost]
    points = collect_cost_points(rows, axis)
    if len(points) < 2:
        return ""
    with styled_figure(WIDTH, HEIGHT, is_placed=True) as figure:
        left, bottom = EDGE + 3.2 * LINE, EDGE + 3 * LINE
        axes = layout.add_panel(figure, left, bottom, WIDTH - left - GAP, HEIGHT - bottom - GAP)
        _draw_costs(figure, axes, points, axis, rows)
        return render_inline_svg(figure, f"Accuracy against {axis.label}")


def draw_pareto(rows: Sequence[ComparisonRow], path: Path, cost: str = "params") -> None:
    """Draw accuracy with its interval against a cost, one panel per dataset, backbone and recipe.

    A line joins the variants that no cheaper one beats. Raises UserError for a cost that is not in COST_AXES, or if
    no row has it.
    """
    axis, groups = group_cost_points(rows, cost)
    grid_columns = min(3, len(groups))
    grid_rows = math.ceil(len(groups) / grid_columns)
    with saved_figure(path, 0.6 + 5.6 * grid_columns, 4.4 * grid_rows) as figure:
        panels = figure.subplots(grid_rows, grid_columns, squeeze=False).ravel()
        for axes, (title, group, points) in zip(panels, groups, strict=False):
            axes.set_title(textwrap.fill(title, TITLE_WIDTH))
            _draw_costs(figure, axes, points, axis, group)
        for axes in panels[len(groups) :]:
            axes.set_visible(False)


def group_cost_points(
    rows: Sequence[ComparisonRow], cost: str
) -> tuple[CostAxis, list[tuple[str, list[ComparisonRow], list[CostPoint]]]]:
    """Return the axis of a cost, and title, rows and points of each dataset, backbone and recipe that has it.

    Raises UserError for a cost that is not in COST_AXES, or if no row has it.
    """
    if cost not in COST_AXES:
        raise unknown_name_error("cost", cost, COST_AXES)
    axis = COST_AXES[cost]
    groups = [
        (title, group, points)
        for title, group in comparison.group_comparison_rows(rows)
        if (points := collect_cost_points(group, axis))
    ]
    if not groups:
        raise UserError(f"no finished run has its {cost} measured", "`attncli run` measures it at the end of a run")
    return axis, groups


def collect_cost_points(rows: Sequence[ComparisonRow], axis: CostAxis) -> list[CostPoint]:
    """Return the rows that have a cost, each with it."""
    return [(cost, row) for row in rows if (cost := axis.value(row)) is not None]


def _draw_costs(
    figure: Figure, axes: Axes, points: Sequence[CostPoint], axis: CostAxis, rows: Sequence[ComparisonRow]
) -> None:
    """Draw the points with their intervals and names, and the line of those that no cheaper one beats.

    Of many variants only some are named (`choose_named_variants`), and those on the line; the others have no intervals,
    which would hide each other.
    """
    spots, bars = [], []
    colours, named_variants = choose_colours(rows), choose_named_variants(rows)
    points = sorted(points, key=lambda p: (p[0], p[1].accuracy.mean))
    front_points = find_pareto_front(points)
    named_variants |= {row.variant for _, row in front_points}
    scale_cost_axis(axes, [x for x, _ in points], axis)
    axes.set_ylabel("test top-1, %")
    widths = widen_hidden_intervals([_locate_across(axes, x) for x, _ in points])
    for (x, row), width in zip(points, widths, strict=True):
        colour, top1, is_named = colours[row.variant], 100 * row.accuracy.mean, row.variant in named_variants
        if is_named and row.accuracy.low is not None and row.accuracy.high is not None:
            bars.append((x, 100 * max(0.0, row.accuracy.low), 100 * min(1.0, row.accuracy.high)))
            axes.plot([x, x], bars[-1][1:], color=colour, alpha=0.4, linewidth=width, solid_capstyle="butt")
        (point,) = axes.plot([x], [top1], "s" if is_baseline(row) else "o", color=colour, markersize=6, zorder=3)
        add_tooltip(point, f"{row.variant}: top-1 {comparison_cells.format_top1(row)} %, cost {x:.4g}")
        if is_named:
            spots.append((x, top1, shorten_variant(row.variant), colour))
    front = [(x, 100 * row.accuracy.mean) for x, row in front_points]
    axes.plot(*zip(*front, strict=True), color=FAINT, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    axes.margins(y=0.15)
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, -2.0), min(high, 102.0))
    ends = [_locate_across(axes, x) for x, _ in (front[0], front[-1])]
    if ends[1] - ends[0] > SAME_PLACE:  # else the points cover the line
        axes.set_xlabel(f"{axis.label}\n{FRONT_NOTE}")
    label_points(figure, axes, spots, bars, front)


def scale_cost_axis(axes: Axes, costs: Sequence[float], axis: CostAxis) -> None:
    """Scale the horizontal axis to costs, with room for names beside the points.

    The axis is logarithmic, with a linear part around 0, if one large cost would press most points together.
    """
    axes.set_xlabel(axis.label)
    axes.tick_params(length=0)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:.4g}"))
    lowest, highest = min(costs), max(costs)
    if sum(abs(cost) < 0.05 * (highest - min(lowest, 0)) for cost in costs) > CROWDED:
        least = min((abs(cost) for cost in costs if cost), default=1.0)
        decade = max(LEAST_DECADE, 10.0 ** math.floor(math.log10(least)))
        axes.set_xscale("symlog", linthresh=decade)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_locator(FixedLocator(_choose_decades(lowest, highest, decade)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:.4g}"))
        axes.set_xlim(6 * lowest if lowest < 0 else -0.7 * decade, 6 * max(highest, decade))
        return
    lacking = max(0.0, axis.width - (highest - lowest))
    room = 0.18 * max(axis.width, highest - lowest)
    axes.set_xlim(lowest - room, highest + room + lacking)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))


def _choose_decades(lowest: float, highest: float, decade: float) -> list[float]:
    """Return 0 and powers of ten on both sides of it, from `decade` on, few enough to be read."""
    sides = [math.floor(math.log10(side / decade) + 1e-9) if side >= decade else -1 for side in (-lowest, highest)]
    step = max(1, math.ceil((sum(sides) + 2) / MOST_DECADES))
    below, above = ([decade * 10.0**power for power in range(side % step, side + 1, step)] for side in sides)
    return [*(-value for value in reversed(below)), 0.0, *above]


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
