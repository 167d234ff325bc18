"""The learning curves of one run as a PNG file."""

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from attncli.palette import COLOURS
from attncli.records import Epoch, Evaluation, Record
from attncli.report import layout
from attncli.report.style import LabelSpot, saved_figure


def draw_curves(records: Sequence[Record], path: Path, title: str = "") -> bool:
    """Draw loss and accuracy by epoch, with the test set's accuracy at the end.

    Returns False and draws nothing if there are fewer than two epochs: a point is no curve.
    """
    epochs = [r for r in records if isinstance(r, Epoch)]
    if len(epochs) < 2:
        return False
    tests = [r for r in records if isinstance(r, Evaluation) and r.split == "test"]
    with saved_figure(path, 9.0, 3.6, title, is_placed=True) as figure:
        loss, top1 = layout.add_panel(figure, 0, 0, 1, 1), layout.add_panel(figure, 0, 0, 1, 1)
        x = [e.epoch for e in epochs]
        lines = [_draw_line(loss, x, [e.train_loss for e in epochs], "training", COLOURS[0])]
        if any(e.val_loss is not None for e in epochs):
            lines.append(_draw_line(loss, x, [_or_nan(e.val_loss) for e in epochs], "validation", COLOURS[1]))
        _style_panel(loss, "loss", x)
        layout.place_row(figure, [(loss, lines), (top1, _draw_accuracy(top1, epochs, tests[-1] if tests else None))])
    return True


def _draw_accuracy(axes: Axes, epochs: Sequence[Epoch], test: Evaluation | None) -> list[LabelSpot]:
    """Draw the accuracy. Return where and how to name its lines."""
    x = [e.epoch for e in epochs]
    spots = []
    if any(e.val_top1 is not None for e in epochs):
        values = [100 * _or_nan(e.val_top1) for e in epochs]
        best = max((v for v in values if math.isfinite(v)), default=0.0)
        name = f"validation {values[-1]:.1f}" + (f", best {best:.1f}" if best > values[-1] else "")
        spots.append(_draw_line(axes, x, values, name, COLOURS[1]))
    if test is not None:
        axes.plot(x[-1:], [100 * test.top1], "D", color=COLOURS[2], markersize=6, zorder=3, clip_on=False)
        spots.append((x[-1], 100 * test.top1, f"test {100 * test.top1:.1f}", COLOURS[2]))
    _style_panel(axes, "top-1 accuracy, %", x)
    return spots


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def _draw_line(axes: Axes, x: Sequence[int], y: Sequence[float], name: str, colour: str) -> LabelSpot:
    """Draw a line. Return where and how to name it."""
    axes.plot(x, y, color=colour, marker="o" if len(x) <= 30 else "", markersize=3.5)
    return x[-1], y[-1], name, colour


def _style_panel(axes: Axes, title: str, x: Sequence[int]) -> None:
    axes.set_title(title)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlim(x[0] - 0.3, x[-1] + 0.3)
    axes.margins(y=0.12)
