"""Panels placed by the widths of their texts, in inches.

matplotlib's constrained layout draws a figure several times to find what a few texts already say; three figures drawn
that way took longer than the training of a short run.
"""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from attncli.report.canvas import EDGE, GAP, LINE
from attncli.report.style import LabelSpot, label_line_ends

TICK_SIZE, NAME_SIZE = 9, 9  # points, as STYLE has them


def measure_header(figure: Figure) -> float:
    """Return the height above the panels for their titles, and for the figure's if it has one."""
    return 0.56 if figure.get_suptitle() else 0.36


def measure_widest(figure: Figure, texts: Sequence[str], points: float) -> float:
    """Return the width of the widest of some texts."""
    renderer, font = figure.canvas.get_renderer(), FontProperties(size=points)  # type: ignore[attr-defined] # Agg's
    return max((renderer.get_text_width_height_descent(t, font, False)[0] for t in texts), default=0.0) / figure.dpi


def add_panel(figure: Figure, left_edge: float, bottom_edge: float, width: float, height: float) -> Axes:
    """Add a new panel at a place."""
    axes = figure.add_axes((0, 0, 1, 1))
    move_panel(axes, left_edge, bottom_edge, width, height)
    return axes


def move_panel(axes: Axes, left_edge: float, bottom_edge: float, width: float, height: float) -> None:
    """Move a panel to another place."""
    figure_width, figure_height = _read_figure_size(axes)
    axes.set_position(
        (left_edge / figure_width, bottom_edge / figure_height, width / figure_width, height / figure_height)
    )


def _read_figure_size(axes: Axes) -> tuple[float, float]:
    """Return width and height of the panel's figure."""
    box = axes.figure.bbox
    return box.width / axes.figure.dpi, box.height / axes.figure.dpi


def list_tick_texts(axes: Axes) -> list[str]:
    """Return the texts at the ticks of the vertical axis."""
    return list(axes.yaxis.get_major_formatter().format_ticks(list(axes.yaxis.get_majorticklocs())))


def place_axis_labels(axes: Axes, left_distance: float, lower_distance: float) -> None:
    """Set how far the labels of both axes are from the panel, which saves a search for where the ticks end."""
    box = axes.get_position()
    figure_width, figure_height = _read_figure_size(axes)
    axes.yaxis.set_label_coords(-left_distance / (box.width * figure_width), 0.5)
    axes.xaxis.set_label_coords(0.5, -lower_distance / (box.height * figure_height))


def place_row(figure: Figure, panels: Sequence[tuple[Axes, Sequence[LabelSpot]]], *, has_titles: bool = True) -> None:
    """Place panels of one width side by side, each with the names of its lines' ends at its right."""
    bottom = EDGE + 2 * LINE
    height = figure.get_figheight() - (measure_header(figure) if has_titles else GAP) - bottom
    for axes, _ in panels:
        move_panel(axes, EDGE, bottom, 1, height)  # the number of ticks depends on the height
    left_margins = [
        EDGE + GAP + measure_widest(figure, list_tick_texts(axes), TICK_SIZE) + (LINE if axes.get_ylabel() else 0)
        for axes, _ in panels
    ]
    right_margins = [
        2 * GAP + EDGE + measure_widest(figure, [text for *_, text, _ in spots], NAME_SIZE) for _, spots in panels
    ]
    width, x = (figure.get_figwidth() - sum(left_margins) - sum(right_margins)) / len(panels), 0.0
    for (axes, spots), left_margin, right_margin in zip(panels, left_margins, right_margins, strict=True):
        move_panel(axes, x + left_margin, bottom, width, height)
        place_axis_labels(axes, left_margin - EDGE - LINE if axes.get_ylabel() else left_margin, 0.27)
        label_line_ends(figure, axes, spots)
        x += left_margin + width + right_margin
