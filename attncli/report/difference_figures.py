"""Figures of the differences to the plain network, a row per variant; as files and for the HTML page."""

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from attncli.analysis import stats
from attncli.analysis.comparison_row import ComparisonRow
from attncli.analysis.stats import MeanEstimate
from attncli.palette import COLOURS, FAINT
from attncli.quantities import format_quantity
from attncli.report import comparison, comparison_cells, layout
from attncli.report.canvas import EDGE, GAP, LINE
from attncli.report.cost_figures import CostAxis, group_cost_points, scale_cost_axis
from attncli.report.inline_svg import add_tooltip, render_inline_svg
from attncli.report.style import saved_figure, styled_figure
from attncli.report.variant_style import MOST_NAMED, choose_colours, is_baseline, shorten_variant

WIDTH = 5.2  # inches of a figure on the page
ROW_HEIGHT = 0.34  # inches of a variant
MIN_POINTS = 0.5  # the least width of the axis of differences; smaller ones are noise
DENSE_ROW_HEIGHT = 0.21  # inches of one of many variants
PANEL_WIDTHS = (4.2, 2.6)  # inches: differences, and costs beside them
HOLLOW_NOTE = "hollow: the interval of all variants together holds 0"


def draw_differences(rows: Sequence[ComparisonRow]) -> str:
    """Draw the differences to the plain network in points; the intervals hold for all variants together.

    Returns the figure as SVG, "" if no row has a difference.
    """
    compared_rows = [(row, row.difference) for row in rows if row.difference is not None]
    if not compared_rows:
        return ""
    colours, names = choose_colours(rows), [shorten_variant(row.variant) for row, _ in compared_rows]
    with styled_figure(WIDTH, 0.75 + ROW_HEIGHT * len(names), is_placed=True) as figure:
        bottom = EDGE + 2 * LINE
        left = 2 * EDGE + GAP + layout.measure_widest(figure, names, layout.NAME_SIZE + 1)
        right = 2 * GAP + layout.measure_widest(figure, ["+00.00"], layout.NAME_SIZE + 1)
        width, height = WIDTH - left - right, ROW_HEIGHT * len(names)
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


def _draw_difference(axes: Axes, y: int, row: ComparisonRow, difference: MeanEstimate, colour: str) -> Line2D:
    """Draw a variant's difference in row `y`: its interval, a point, and its number at the right edge.

    Returns the point.
    """
    joint = row.joint
    if joint is not None and joint.low is not None and joint.high is not None and math.isfinite(joint.high):
        axes.plot([100 * joint.low, 100 * joint.high], [y, y], color=colour, linewidth=2.2, solid_capstyle="butt")
    text, kind = comparison_cells.format_difference(row), "fold" if row.folds else "seed"
    (point,) = axes.plot([100 * difference.mean], [y], "o", color=colour, markersize=7, zorder=3)
    add_tooltip(point, f"{row.variant}: {text} points over {format_quantity(difference.n, kind)}; {row.verdict}")
    axes.annotate(
        text.partition(" ±")[0], (1, y), (6, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
        va="center", annotation_clip=False,
    )  # fmt: skip
    return point


def is_crowded(rows: Sequence[ComparisonRow]) -> bool:
    """Return whether a recipe has so many variants that their names find no place beside points."""
    return any(
        sum(row.difference is not None for row in group) > MOST_NAMED
        for _, group in comparison.group_comparison_rows(rows)
    )


def draw_difference_rows(rows: Sequence[ComparisonRow], path: Path, cost: str = "params") -> None:
    """Draw a row per variant with its difference to the plain network, and a cost beside it; one block per recipe.

    A variant whose cost is not known has its difference alone.

    Raises UserError for a cost that is not in COST_AXES, or if no row has it.
    """
    axis, _ = group_cost_points(rows, cost)
    blocks = [
        (title, sorted(variants, key=_rank_difference))
        for title, group in comparison.group_comparison_rows(rows)
        if (variants := [row for row in group if not is_baseline(row)])
    ]
    names = [shorten_variant(row.variant) for _, variants in blocks for row in variants]
    height = sum(_measure_block(variants) for _, variants in blocks)
    with styled_figure(1, 1) as figure:
        left = 2 * EDGE + GAP + layout.measure_widest(figure, names, layout.NAME_SIZE)
    with saved_figure(path, left + sum(PANEL_WIDTHS) + 0.8, height, is_placed=True) as figure:
        top = height
        for title, variants in blocks:
            top -= _measure_block(variants)
            _draw_block(figure, title, variants, axis, left, top)


def _measure_block(rows: Sequence[ComparisonRow]) -> float:
    """Return the height in inches of a block of rows, with its title and the labels below."""
    return DENSE_ROW_HEIGHT * len(rows) + 0.4 + 4 * LINE


def _draw_block(
    figure: Figure, title: str, rows: Sequence[ComparisonRow], axis: CostAxis, left: float, bottom: float
) -> None:
    """Draw the rows of one recipe, the differences at the left and the costs at the right."""
    height, bottom = DENSE_ROW_HEIGHT * len(rows), bottom + 3 * LINE
    axes = layout.add_panel(figure, left, bottom, PANEL_WIDTHS[0], height)
    cost_axes = layout.add_panel(figure, left + PANEL_WIDTHS[0] + 0.7, bottom, PANEL_WIDTHS[1], height)
    axes.set_title(title)
    if costs := [(y, cost) for y, row in enumerate(rows) if (cost := axis.value(row)) is not None]:
        scale_cost_axis(cost_axes, [cost for _, cost in costs], axis)
    cost_axes.set_visible(bool(costs))
    for y, cost in costs:
        cost_axes.plot([cost], [y], "o", color=FAINT, markersize=5)
    for y, row in enumerate(rows):
        if row.difference is not None:
            point = _draw_difference(axes, y, row, row.difference, COLOURS[0])
            point.set(markersize=5.5, markerfacecolor="white" if _holds_zero(row) else COLOURS[0])
    axes.axvline(0, color=FAINT, linewidth=1, linestyle=(0, (3, 3)), zorder=1)
    cost_axes.axvline(0, color=FAINT, linewidth=1, linestyle=(0, (3, 3)), zorder=1)
    _scale_difference_axes(axes, [shorten_variant(row.variant) for row in rows])
    axes.set_xlabel(f"{axes.get_xlabel()}\n{HOLLOW_NOTE}")
    cost_axes.set_yticks(range(len(rows)), [])
    cost_axes.set_ylim(len(rows) - 0.5, -0.5)
    for panel in (axes, cost_axes):
        panel.grid(visible=True, axis="y")
        panel.spines[:].set_visible(False)


def _rank_difference(row: ComparisonRow) -> float:
    """Return the place of a row: the highest difference first, rows without one last."""
    return math.inf if row.difference is None else -row.difference.mean


def _holds_zero(row: ComparisonRow) -> bool:
    """Return whether a difference may be none, as far as its interval says; without any spread, as p says."""
    joint = row.joint
    if joint is None:
        return True
    if joint.low is None or joint.high is None:
        return joint.p >= (row.level or stats.ALPHA)
    return joint.low <= 0 <= joint.high
