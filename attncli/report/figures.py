"""Figures of one run as PNG files: learning curves, confusion matrix, accuracy by class."""

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from attncli.palette import COLOURS, INK
from attncli.records import Epoch, Evaluation, Record
from attncli.report import layout
from attncli.report.style import LabelSpot, saved_figure

MOST_NUMBERS = 20  # classes up to which every cell of a confusion matrix shows its count
MOST_BARS = 40  # classes up to which every class has its bar
MAX_NAME = 14  # characters of a class's name
LIGHT_PERCENT = 10.0  # % of a class; the colours of a confusion matrix reach at least that far


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


def draw_confusion(evaluation: Evaluation, classes: Sequence[str], path: Path, title: str = "") -> None:
    """Draw which class is taken for which: mistakes coloured by their share of the true class, the rest in grey.

    Args:
        evaluation: has the counts, true class by predicted class.
        classes: the names in the order of the labels.
        path: the PNG file.
        title: stands above the figure.
    """
    counts = evaluation.confusion
    totals = [sum(row) or 1 for row in counts]
    class_count = len(counts)
    mistakes = [
        [math.nan if i == j or not c else 100 * c / totals[i] for j, c in enumerate(row)]
        for i, row in enumerate(counts)
    ]
    side = min(10.0, 2.6 + 0.42 * class_count) if class_count <= MOST_NUMBERS else 8.5
    with saved_figure(path, side + 0.9, side, title, is_placed=True) as figure:
        axes = layout.add_panel(figure, 0, 0, 1, 1)
        highest = max((v for row in mistakes for v in row if math.isfinite(v)), default=0.0)
        highest = max(highest, LIGHT_PERCENT)  # so that few mistakes look like few
        image = axes.imshow(mistakes, cmap="Oranges", vmin=0, vmax=highest)
        for i in range(class_count):
            axes.add_patch(Rectangle((i - 0.5, i - 0.5), 1, 1, color="#e3e3e3", linewidth=0))
        if class_count <= MOST_NUMBERS:
            _write_counts(axes, counts, mistakes, highest)
        bar = figure.colorbar(
            image, cax=_place_matrix(figure, axes, _name_classes(axes, classes, class_count), class_count)
        )
        bar.outline.set_visible(False)
        bar.set_label("mistakes, % of the true class")
        correct = sum(counts[i][i] for i in range(class_count))
        axes.set_title(f"{evaluation.split} set: {correct:,} of {evaluation.images:,} right")


def _write_counts(
    axes: Axes, counts: Sequence[Sequence[int]], shares: Sequence[Sequence[float]], highest: float
) -> None:
    """Write the count into every cell that is not empty, in white if the cell is dark."""
    for i, row in enumerate(counts):
        for j, count in enumerate(row):
            if count:
                dark = i != j and shares[i][j] > 0.6 * highest
                axes.text(j, i, str(count), ha="center", va="center", fontsize=8.5, color="white" if dark else INK)


def _place_matrix(figure: Figure, axes: Axes, names: Sequence[str], class_count: int) -> Axes:
    """Place the matrix, as large as the texts around it allow. Return the panel for its colour scale."""
    figure_width, figure_height = figure.get_size_inches()
    name_size = _choose_name_size(class_count)
    left_margin = layout.EDGE + layout.LINE + 2 * layout.GAP + layout.measure_widest(figure, names, name_size)
    name_height = layout.measure_slanted_height(figure, names, name_size) if _are_slanted(names) else name_size / 72
    bottom_margin = layout.EDGE + layout.LINE + 1.2 * layout.GAP + name_height
    right_margin = 0.16 + 0.13 + 3 * layout.GAP + layout.measure_widest(figure, ["100"], layout.TICK_SIZE) + layout.LINE
    side = min(figure_width - left_margin - right_margin, figure_height - bottom_margin - layout.header_height(figure))
    x, y = (
        left_margin + (figure_width - left_margin - right_margin - side) / 2,
        bottom_margin + (figure_height - bottom_margin - layout.header_height(figure) - side) / 2,
    )
    layout.move_panel(axes, x, y, side, side)
    layout.place_axis_labels(axes, left_margin - layout.EDGE - layout.LINE, bottom_margin - layout.EDGE - layout.LINE)
    return layout.add_panel(figure, x + side + 0.16, y + side / 8, 0.13, 0.75 * side)


def _choose_name_size(class_count: int) -> int:
    """Return the font size of the classes' names."""
    return 8 if class_count <= MOST_NUMBERS else 6


def _are_slanted(names: Sequence[str]) -> bool:
    return max(map(len, names), default=0) > 2


def _name_classes(axes: Axes, classes: Sequence[str], class_count: int) -> list[str]:
    """Name the classes, or number them if there are too many. Return the names."""
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, left=False, bottom=False)  # marks of no length take time too
    axes.set_ylabel("true class")
    axes.set_xlabel("taken for")
    if class_count > 3 * MOST_NUMBERS:
        return [str(class_count)]
    names = [shorten_class_name(name) for name in classes]
    slanted = _are_slanted(names)
    axes.set_xticks(range(class_count), names, rotation=45 if slanted else 0, ha="right" if slanted else "center")
    axes.set_yticks(range(class_count), names)
    axes.tick_params(labelsize=_choose_name_size(class_count))
    return names


def draw_class_accuracy(evaluation: Evaluation, classes: Sequence[str], path: Path, title: str = "") -> None:
    """Draw the accuracy of each class, the worst at the bottom, with the class it is most often mistaken for.

    If there are more than MOST_BARS classes, the worst and the best are shown. Arguments as in `draw_confusion`.
    """
    counts = evaluation.confusion
    accuracies = [(100 * row[i] / (sum(row) or 1), i) for i, row in enumerate(counts)]
    accuracies.sort(key=lambda f: (-f[0], f[1]))
    shown = accuracies if len(accuracies) <= MOST_BARS else accuracies[: MOST_BARS // 2] + accuracies[-MOST_BARS // 2 :]
    names = [shorten_class_name(classes[i]) for _, i in shown]
    with saved_figure(path, 7.2, 1.3 + 0.27 * len(shown), title, is_placed=True) as figure:
        axes = layout.add_panel(figure, 0, 0, 1, 1)
        axes.barh(range(len(shown)), [v for v, _ in shown], color=COLOURS[4], height=0.72)
        axes.axvline(100 * evaluation.top1, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        labels = [_label_class(value, counts[i], i, classes) for value, i in shown]
        for y, text in enumerate(labels):
            axes.text(101, y, text, va="center", fontsize=8)
        axes.set_yticks(range(len(shown)), names, fontsize=8)
        axes.invert_yaxis()
        axes.set_xlim(0, 100)
        axes.grid(visible=False, axis="y")
        shown_note = "" if len(shown) == len(accuracies) else f", {len(shown)} of {len(accuracies)} classes"
        axes.set_title(f"{evaluation.split} accuracy by class, %{shown_note} (dashed: all, {evaluation.top1:.2%})")
        left_margin = layout.EDGE + layout.GAP + layout.measure_widest(figure, names, 8)
        right_margin = layout.EDGE + layout.GAP + layout.measure_widest(figure, labels, 8)
        figure_width, figure_height = figure.get_size_inches()
        bottom = layout.EDGE + layout.LINE
        layout.move_panel(
            axes,
            left_margin,
            bottom,
            figure_width - left_margin - right_margin,
            figure_height - bottom - layout.header_height(figure),
        )


def _label_class(value: float, row: Sequence[int], i: int, classes: Sequence[str]) -> str:
    """Return the accuracy (%) of class i and the class that it is most often mistaken for."""
    mistakes, other = max(((c, j) for j, c in enumerate(row) if j != i), default=(0, i))
    return f"{value:.1f}" + (f"   {100 * mistakes / (sum(row) or 1):.1f} as {classes[other]}" if mistakes else "")


def shorten_class_name(name: str) -> str:
    """Return a class's name, cut if it is long."""
    return name if len(name) <= MAX_NAME else name[: MAX_NAME - 1] + "…"
