"""How well each class is told from the others, as a picture."""

from collections.abc import Sequence
from pathlib import Path

from attncli.records import Evaluation
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
    with figure(path, 7.2, 1.3 + 0.27 * len(shown), title) as made:
        axes = made.subplots()
        axes.barh(range(len(shown)), [v for v, _ in shown], color=COLOURS[4], height=0.72)
        axes.axvline(100 * evaluation.top1, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        for y, (value, i) in enumerate(shown):
            wrong, other = max((c, j) for j, c in enumerate(counts[i]) if j != i) if len(counts) > 1 else (0, i)
            instead = f"   {100 * wrong / (sum(counts[i]) or 1):.1f} as {classes[other]}" if wrong else ""
            axes.text(101, y, f"{value:.1f}{instead}", va="center", fontsize=8)
        axes.set_yticks(range(len(shown)), [short(classes[i]) for _, i in shown], fontsize=8)
        axes.invert_yaxis()
        axes.set_xlim(0, 100)
        axes.grid(visible=False, axis="y")
        some = "" if len(shown) == len(found) else f", {len(shown)} of {len(found)} classes"
        axes.set_title(f"{evaluation.split} accuracy by class, %{some} (dashed: all, {evaluation.top1:.2%})")


def short(name: str) -> str:
    """A class's name, cut where it is long."""
    return name if len(name) <= 14 else name[:13] + "…"
