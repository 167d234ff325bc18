"""Panels placed by the widths of their texts, in inches.

matplotlib's constrained layout draws a figure several times over to find what can be told from a few texts; three
pictures drawn so took longer than a short run's training.
"""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from attncli.report.figure import Spot, label_ends

EDGE = 0.06  # between what is drawn and the edge of the figure
GAP = 0.1  # between ticks and their texts, and between texts
LINE = 0.2  # the height of a line of text
TICK, NAME = 9, 9  # points, as STYLE has them


def head(made: Figure) -> float:
    """The height of what stands above the panels: their titles, and the figure's where it has one."""
    return 0.56 if made.get_suptitle() else 0.36


def widest(made: Figure, texts: Sequence[str], points: float) -> float:
    """The width of the widest of some texts."""
    renderer, font = made.canvas.get_renderer(), FontProperties(size=points)  # type: ignore[attr-defined] # Agg's
    return max((renderer.get_text_width_height_descent(t, font, False)[0] for t in texts), default=0.0) / made.dpi


def panel(made: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """A new panel at a place."""
    axes = made.add_axes((0, 0, 1, 1))
    move(axes, left, bottom, width, height)
    return axes


def move(axes: Axes, left: float, bottom: float, width: float, height: float) -> None:
    """Put a panel somewhere else."""
    wide, high = _size(axes)
    axes.set_position((left / wide, bottom / high, width / wide, height / high))


def _size(axes: Axes) -> tuple[float, float]:
    """Width and height of its figure."""
    box = axes.figure.bbox
    return box.width / axes.figure.dpi, box.height / axes.figure.dpi


def tick_texts(axes: Axes) -> list[str]:
    """What stands at the ticks of the upright axis."""
    return list(axes.yaxis.get_major_formatter().format_ticks(list(axes.yaxis.get_majorticklocs())))


def axis_labels(axes: Axes, left: float, below: float) -> None:
    """Have the labels of both axes stand so far from the panel, which saves looking for where ticks end."""
    box = axes.get_position()
    wide, high = _size(axes)
    axes.yaxis.set_label_coords(-left / (box.width * wide), 0.5)
    axes.xaxis.set_label_coords(0.5, -below / (box.height * high))


def row(made: Figure, panels: Sequence[tuple[Axes, Sequence[Spot]]]) -> None:
    """Place panels side by side, of one width, with the names of their lines' ends at the right of each."""
    bottom, height = EDGE + 2 * LINE, made.get_figheight() - head(made) - EDGE - 2 * LINE
    for axes, _ in panels:
        move(axes, EDGE, bottom, 1, height)  # the number of ticks depends on the height
    before = [EDGE + GAP + widest(made, tick_texts(axes), TICK) for axes, _ in panels]
    after = [2 * GAP + EDGE + widest(made, [text for *_, text, _ in spots], NAME) for _, spots in panels]
    width, x = (made.get_figwidth() - sum(before) - sum(after)) / len(panels), 0.0
    for (axes, spots), left, right in zip(panels, before, after, strict=True):
        move(axes, x + left, bottom, width, height)
        axis_labels(axes, left, 0.27)
        label_ends(made, axes, spots)
        x += left + width + right


def slanted_height(made: Figure, texts: Sequence[str], points: float) -> float:
    """The height of the widest of some texts, turned by 45 degrees."""
    return (widest(made, texts, points) + points / 72) * 0.71
