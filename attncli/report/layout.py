"""Panels placed by the widths of their texts, in inches.

matplotlib's constrained layout draws a figure several times over to find what can be told from a few texts; three
pictures drawn so took longer than a short run's training.
"""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from attncli.report.style import LabelSpot, label_line_ends

EDGE = 0.06  # between what is drawn and the edge of the figure
GAP = 0.1  # between ticks and their texts, and between texts
LINE = 0.2  # the height of a line of text
TICK_SIZE, NAME_SIZE = 9, 9  # points, as STYLE has them


def header_height(figure: Figure) -> float:
    """The height of what stands above the panels: their titles, and the figure's where it has one."""
    return 0.56 if figure.get_suptitle() else 0.36


def measure_widest(figure: Figure, texts: Sequence[str], points: float) -> float:
    """The width of the widest of some texts."""
    renderer, font = figure.canvas.get_renderer(), FontProperties(size=points)  # type: ignore[attr-defined] # Agg's
    return max((renderer.get_text_width_height_descent(t, font, False)[0] for t in texts), default=0.0) / figure.dpi


def add_panel(figure: Figure, left_edge: float, bottom_edge: float, width: float, height: float) -> Axes:
    """A new panel at a place."""
    axes = figure.add_axes((0, 0, 1, 1))
    move_panel(axes, left_edge, bottom_edge, width, height)
    return axes


def move_panel(axes: Axes, left_edge: float, bottom_edge: float, width: float, height: float) -> None:
    """Put a panel somewhere else."""
    figure_width, figure_height = _figure_size(axes)
    axes.set_position(
        (left_edge / figure_width, bottom_edge / figure_height, width / figure_width, height / figure_height)
    )


def _figure_size(axes: Axes) -> tuple[float, float]:
    """Width and height of its figure."""
    box = axes.figure.bbox
    return box.width / axes.figure.dpi, box.height / axes.figure.dpi


def list_tick_texts(axes: Axes) -> list[str]:
    """What stands at the ticks of the upright axis."""
    return list(axes.yaxis.get_major_formatter().format_ticks(list(axes.yaxis.get_majorticklocs())))


def place_axis_labels(axes: Axes, left_distance: float, lower_distance: float) -> None:
    """Have the labels of both axes stand so far from the panel, which saves looking for where ticks end."""
    box = axes.get_position()
    figure_width, figure_height = _figure_size(axes)
    axes.yaxis.set_label_coords(-left_distance / (box.width * figure_width), 0.5)
    axes.xaxis.set_label_coords(0.5, -lower_distance / (box.height * figure_height))


def place_row(figure: Figure, panels: Sequence[tuple[Axes, Sequence[LabelSpot]]]) -> None:
    """Place panels side by side, of one width, with the names of their lines' ends at the right of each."""
    bottom, height = EDGE + 2 * LINE, figure.get_figheight() - header_height(figure) - EDGE - 2 * LINE
    for axes, _ in panels:
        move_panel(axes, EDGE, bottom, 1, height)  # the number of ticks depends on the height
    left_margins = [EDGE + GAP + measure_widest(figure, list_tick_texts(axes), TICK_SIZE) for axes, _ in panels]
    right_margins = [
        2 * GAP + EDGE + measure_widest(figure, [text for *_, text, _ in spots], NAME_SIZE) for _, spots in panels
    ]
    width, x = (figure.get_figwidth() - sum(left_margins) - sum(right_margins)) / len(panels), 0.0
    for (axes, spots), left_margin, right_margin in zip(panels, left_margins, right_margins, strict=True):
        move_panel(axes, x + left_margin, bottom, width, height)
        place_axis_labels(axes, left_margin, 0.27)
        label_line_ends(figure, axes, spots)
        x += left_margin + width + right_margin


def measure_slanted_height(figure: Figure, texts: Sequence[str], points: float) -> float:
    """The height of the widest of some texts, turned by 45 degrees."""
    return (measure_widest(figure, texts, points) + points / 72) * 0.71
