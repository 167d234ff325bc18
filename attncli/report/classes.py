"""How well each class is told from the others, as a picture."""

from collections.abc import Sequence
from pathlib import Path

from attncli.records import Evaluation
from attncli.report import placed
from attncli.report.figure import COLOURS, INK, figure

MOST_BARS = 40  # classes up to which every one has its bar


def per_class(evaluation: Evaluation, classes: Sequence[str], path: Path, title: str = "") -> None:
    """Accuracy of each class, the worst at the bottom, with the class it is mostly taken for instead.

    Of more than MOST_BARS classes the worst and the best are shown.
    """
    counts = evaluation.confusion
    found = [(100 * row[i] / (sum(row) or 1), i) for i, row in enumerate(counts)]
    found.sort(key=lambda f: (-f[0], f[1]))
    shown = found if len(found) <= MOST_BARS else found[: MOST_BARS // 2] + found[-MOST_BARS // 2 :]
    names = [short(classes[i]) for _, i in shown]
    with figure(path, 7.2, 1.3 + 0.27 * len(shown), title, placed=True) as made:
        axes = placed.panel(made, 0, 0, 1, 1)
        axes.barh(range(len(shown)), [v for v, _ in shown], color=COLOURS[4], height=0.72)
        axes.axvline(100 * evaluation.top1, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        told = [_told(value, counts[i], i, classes) for value, i in shown]
        for y, text in enumerate(told):
            axes.text(101, y, text, va="center", fontsize=8)
        axes.set_yticks(range(len(shown)), names, fontsize=8)
        axes.invert_yaxis()
        axes.set_xlim(0, 100)
        axes.grid(visible=False, axis="y")
        some = "" if len(shown) == len(found) else f", {len(shown)} of {len(found)} classes"
        axes.set_title(f"{evaluation.split} accuracy by class, %{some} (dashed: all, {evaluation.top1:.2%})")
        left = placed.EDGE + placed.GAP + placed.widest(made, names, 8)
        right = placed.EDGE + placed.GAP + placed.widest(made, told, 8)
        wide, high = made.get_size_inches()
        bottom = placed.EDGE + placed.LINE
        placed.move(axes, left, bottom, wide - left - right, high - bottom - placed.head(made))


def _told(value: float, row: Sequence[int], i: int, classes: Sequence[str]) -> str:
    """The accuracy (%) of class i, and the class that it is mostly taken for instead."""
    wrong, other = max(((c, j) for j, c in enumerate(row) if j != i), default=(0, i))
    return f"{value:.1f}" + (f"   {100 * wrong / (sum(row) or 1):.1f} as {classes[other]}" if wrong else "")


def short(name: str) -> str:
    """A class's name, cut where it is long."""
    return name if len(name) <= 14 else name[:13] + "…"
