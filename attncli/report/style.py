"""The style of all figures: colours that colour-blind readers can tell apart, fonts, and labels that do not overlap."""

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.path import Path as Path2D
from matplotlib.transforms import Bbox

from attncli.errors import UserError
from attncli.palette import FAINT, GRID, INK
from attncli.report import fonts
from attncli.report.canvas import DPI, FAST_COMPRESSION
from attncli.system.files import written_aside

METADATA: dict[str, dict[str, str | None]] = {  # by format; without a date, so that equal figures are equal files
    "png": {"Software": "attncli"},
    "pdf": {"Creator": "attncli", "CreationDate": None},
    "svg": {"Creator": "attncli", "Date": None},
}
STYLE: Any = {  # a setting's name and value; matplotlib's own type lists all three hundred
    "font.family": fonts.MAIN_FONT,  # comes with matplotlib, so figures look alike on all machines
    "text.parse_math": False,  # a class may have $ in its name
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.titley": 1.0,  # nothing above a panel needs room
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "text.color": INK,
    "lines.linewidth": 1.8,
    "pdf.fonttype": 42,  # TrueType: publishers refuse Type 3 fonts
    "svg.hashsalt": "attncli",  # equal figures get equal names inside
}


@contextmanager
def styled_figure(width: float, height: float, title: str = "", *, is_placed: bool = False) -> Iterator[Figure]:
    """Make a figure that looks the same whatever a user's matplotlibrc says; settings are restored afterwards.

    Args:
        width: inches.
        height: inches.
        title: stands above all panels.
        is_placed: whether the caller places the panels; otherwise matplotlib lays them out.
    """
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", r"Glyph \d+ .* missing from"
        )  # `apply_fallback_fonts` reports what is missing
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        figure = Figure(figsize=(width, height), dpi=DPI, layout=None if is_placed else "constrained")
        FigureCanvasAgg(figure)
        if title:
            title_position = {"y": 1 - 0.04 / height, "va": "top"} if is_placed else {}
            figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold", **title_position)
        yield figure


def choose_figure_format(path: Path) -> str:
    """Return the format that the suffix of a path names. Raises UserError if it is no key of METADATA."""
    format_ = path.suffix.removeprefix(".").lower()
    if format_ not in METADATA:
        raise UserError(
            f"{path}: no figure has such a name", f"end it in {', '.join(f'.{known}' for known in METADATA)}"
        )
    return format_


@contextmanager
def saved_figure(
    path: Path, width: float, height: float, title: str = "", *, is_placed: bool = False
) -> Iterator[Figure]:
    """Make a `styled_figure`; save it at `path` when the block ends without an error. The folder is made too.

    PNG is for screens, PDF and SVG are for papers. Raises UserError for another suffix.
    """
    format_ = choose_figure_format(path)
    with styled_figure(width, height, title, is_placed=is_placed) as figure:
        yield figure
        fonts.apply_fallback_fonts(figure)
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_aside(path) as temporary:
            options: dict[str, Any] = {"pil_kwargs": {"compress_level": FAST_COMPRESSION}} if format_ == "png" else {}
            figure.savefig(temporary, format=format_, metadata=METADATA[format_], **options)


LabelSpot = tuple[float, float, str, str]  # x, y, text, colour
LABEL_DISTANCE = 13.0  # points between the names of two lines, at least


def label_line_ends(figure: Figure, axes: Axes, spots: Sequence[LabelSpot]) -> None:
    """Write names at the right of the axes, level with the last points of their lines, moved apart if they touch.

    The panel must be placed already.
    """
    axes.get_ylim()  # the scale follows the data from here on, not only when it is drawn
    per_point = figure.dpi / 72
    spots = sorted((s for s in spots if math.isfinite(s[1])), key=lambda s: s[1])
    levels = [axes.transData.transform((x, y))[1] / per_point for x, y, *_ in spots]
    targets = _spread_labels(levels, LABEL_DISTANCE, highest=axes.get_window_extent().y1 / per_point)
    for (_, y, text, colour), level, target in zip(spots, levels, targets, strict=True):
        axes.annotate(
            text, (1, y), (8, target - level), xycoords=("axes fraction", "data"), textcoords="offset points",
            va="center", fontsize=9, color=colour, annotation_clip=False,
        )  # fmt: skip


def _spread_labels(levels: Sequence[float], least_distance: float, highest: float = math.inf) -> list[float]:
    """Return rising levels moved apart to `least_distance` at least, none above `highest`.

    The middle of a moved group stays if there is room above it.
    """
    separated = list(levels)
    for _ in range(50):
        for i in range(len(separated) - 1):
            lacking = least_distance - (separated[i + 1] - separated[i])
            if lacking > 0:
                separated[i] -= lacking / 2
                separated[i + 1] += lacking / 2
    for i in reversed(range(len(separated))):
        separated[i] = min(separated[i], highest - (len(separated) - 1 - i) * least_distance)
    return separated


def label_points(
    figure: Figure,
    axes: Axes,
    spots: Sequence[LabelSpot],
    bars: Sequence[tuple[float, float, float]] = (),
    line: Sequence[tuple[float, float]] = (),
) -> None:
    """Write a name beside each point, on the side where it covers no other name, point, bar or line.

    Args:
        figure: holds the panel.
        axes: the panel, with its final scale.
        spots: where the points are, their names and colours.
        bars: vertical lines: x, lower and upper y.
        line: the corners (x, y) of a line through the panel.
    """
    figure.draw_without_rendering()
    covered_boxes: list[Any] = [_covered_box(axes, x, y, y, 5 * figure.dpi / 72) for x, y, *_ in spots]
    bar_boxes = [_covered_box(axes, *bar, 1.5 * figure.dpi / 72) for bar in bars]
    inside = axes.get_window_extent()
    drawn_line = Path2D(axes.transData.transform(line)) if len(line) > 1 else None
    for x, y, text, colour in spots:
        best = None
        for dx, dy, ha, va in _SIDES:
            note = axes.annotate(
                text, (x, y), (dx, dy), textcoords="offset points", ha=ha, va=va, fontsize=9, color=colour
            )
            box = note.get_window_extent()
            cost = 3.0 * sum(box.overlaps(other) for other in covered_boxes)  # nothing else makes a name unreadable
            cost += sum(box.overlaps(other) for other in bar_boxes)
            cost += 0.5 * (box.x0 < inside.x0 or box.x1 > inside.x1 or box.y0 < inside.y0 or box.y1 > inside.y1)
            cost += 0.7 * (drawn_line is not None and drawn_line.intersects_bbox(box, filled=False))
            if best is None or cost < best[0]:
                if best is not None:
                    best[1].remove()
                best = (cost, note, box)
            else:
                note.remove()
        assert best is not None
        covered_boxes.append(best[2])


_SIDES = (
    (8, 0, "left", "center"), (6, 6, "left", "bottom"), (6, -6, "left", "top"), (-8, 0, "right", "center"),
    (-6, 6, "right", "bottom"), (-6, -6, "right", "top"), (0, 12, "center", "bottom"), (0, -12, "center", "top"),
    (14, 18, "left", "bottom"), (14, -18, "left", "top"), (-14, 18, "right", "bottom"), (-14, -18, "right", "top"),
)  # fmt: skip


def _covered_box(axes: Axes, x: float, low: float, high: float, margin: float) -> Any:
    """Return the box that a point or a vertical line covers, with a margin, in pixels."""
    across, bottom = axes.transData.transform((x, low))
    _, top = axes.transData.transform((x, high))
    return Bbox.from_extents(across - margin, bottom - margin, across + margin, top + margin)
