"""How well each class is told from the others, as a picture."""

from collections.abc import Sequence
from pathlib import Path

from attncli.records import Evaluation
from attncli.report import layout
from attncli.report.style import COLOURS, INK, saved_figure

MOST_BARS = 40  # classes up to which every one has its bar


def draw_class_accuracy(evaluation: Evaluation, classes: Sequence[str], path: Path, title: str = "") -> None:
    """Accuracy of each class, the worst at the bottom, with the class it is mostly taken for instead.

    Of more than MOST_BARS classes the worst and the best are shown.
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
    """The accuracy (%) of class i, and the class that it is mostly taken for instead."""
    mistakes, other = max(((c, j) for j, c in enumerate(row) if j != i), default=(0, i))
    return f"{value:.1f}" + (f"   {100 * mistakes / (sum(row) or 1):.1f} as {classes[other]}" if mistakes else "")


def shorten_class_name(name: str) -> str:
    """A class's name, cut where it is long."""
    return name if len(name) <= 14 else name[:13] + "…"
