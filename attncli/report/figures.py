"""Pictures of a run, and of runs compared, as PNG files: learning curves, confusion matrix, accuracy against cost."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from attncli.analysis.compare import ComparisonRow
from attncli.errors import UserError, unknown_name_error
from attncli.records import Epoch, Evaluation, Record
from attncli.report import comparison, layout
from attncli.report.classes import shorten_class_name
from attncli.report.style import COLOURS, FAINT, INK, LabelSpot, label_points, saved_figure

MOST_NUMBERS = 20  # classes up to which every cell of a confusion matrix shows its count
LIGHT_PERCENT = 10.0  # % of a class; the colours of a confusion matrix reach at least that far


@dataclass(frozen=True)
class CostAxis:
    """A cost to set accuracy against: what the axis says, its value for a row, the least width of the axis."""

    label: str
    value: Callable[[ComparisonRow], float | None]
    width: float  # narrower, differences of no interest would fill the picture


COST_AXES = {
    "params": CostAxis("parameters, % over the plain network", lambda r: r.params_pct, 0.5),
    "macs": CostAxis("multiply-accumulates, % over the plain network", lambda r: r.macs_pct, 0.5),
    "train-time": CostAxis("training time over the plain network's", lambda r: _invert_ratio(r.train_ratio), 0.1),
    "infer-time": CostAxis("inference time over the plain network's", lambda r: _invert_ratio(r.infer_ratio), 0.1),
}


def _invert_ratio(value: float | None) -> float | None:
    return 1 / value if value else None


def draw_curves(records: Sequence[Record], path: Path, title: str = "") -> bool:
    """Loss and accuracy by epoch, with the test set's accuracy at the end.

    False, and no file, with less than two epochs: a point is no curve.
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
    """Draw the accuracy; where and how to name it."""
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
    """Draw a line; where and how to name it."""
    axes.plot(x, y, color=colour, marker="o" if len(x) <= 30 else "", markersize=3.5)
    return x[-1], y[-1], name, colour


def _style_panel(axes: Axes, title: str, x: Sequence[int]) -> None:
    axes.set_title(title)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlim(x[0] - 0.3, x[-1] + 0.3)
    axes.margins(y=0.12)


def draw_confusion(evaluation: Evaluation, classes: Sequence[str], path: Path, title: str = "") -> None:
    """Which class is taken for which: mistakes coloured by their share of the true class, what is right in grey.

    `classes` are the names in the order of the labels.
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
    """The count in every cell that is not empty, white where the cell is dark."""
    for i, row in enumerate(counts):
        for j, count in enumerate(row):
            if count:
                dark = i != j and shares[i][j] > 0.6 * highest
                axes.text(j, i, str(count), ha="center", va="center", fontsize=8.5, color="white" if dark else INK)


def _place_matrix(figure: Figure, axes: Axes, names: Sequence[str], class_count: int) -> Axes:
    """Place the matrix, as large as the texts around it leave room for; the panel of its scale of colours."""
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
    """The size of the classes' names."""
    return 8 if class_count <= MOST_NUMBERS else 6


def _are_slanted(names: Sequence[str]) -> bool:
    return max(map(len, names), default=0) > 2


def _name_classes(axes: Axes, classes: Sequence[str], class_count: int) -> list[str]:
    """Name the classes while there is room, else number them; the names."""
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
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


def draw_pareto(rows: Sequence[ComparisonRow], path: Path, cost: str = "params") -> None:
    """Accuracy with its interval against what it costs, a panel for each dataset, backbone and recipe.

    The line joins the variants that nothing cheaper beats. Raises UserError for another cost than those of COST,
    or where no row has it.
    """
    if cost not in COST_AXES:
        raise unknown_name_error("cost", cost, COST_AXES)
    axis = COST_AXES[cost]
    parts = [
        (title, [(x, r) for r in part if (x := axis.value(r)) is not None])
        for title, part in comparison.group_comparison_rows(rows)
    ]
    parts = [(title, points) for title, points in parts if points]
    if not parts:
        raise UserError(f"no finished run has its {cost} measured", "attncli run measures it at the end of a run")
    columns = min(3, len(parts))
    lines = math.ceil(len(parts) / columns)
    with saved_figure(path, 0.6 + 5.6 * columns, 4.2 * lines) as figure:
        panels = figure.subplots(lines, columns, squeeze=False).flat
        for axes, (title, points) in zip(panels, parts, strict=False):
            axes.set_title(title)
            _draw_front(figure, axes, points, axis)
        for axes in list(panels)[len(parts) :]:
            axes.set_visible(False)


def _draw_front(figure: Figure, axes: Axes, points: Sequence[tuple[float, ComparisonRow]], axis: CostAxis) -> None:
    spots, bars = [], []
    shown = separate_points(points, axis.width)
    for x, row in shown:
        plain = row.verdict == "baseline"
        colour = INK if plain else COLOURS[0]
        if row.top1_low is not None and row.top1_high is not None:
            bars.append((x, 100 * max(0.0, row.top1_low), 100 * min(1.0, row.top1_high)))
            axes.plot([x, x], bars[-1][1:], color=colour, alpha=0.35, linewidth=1.2)
        axes.plot([x], [100 * row.top1], "s" if plain else "o", color=colour, markersize=6, zorder=3)
        spots.append((x, 100 * row.top1, "plain" if plain else row.variant, colour))
    front_groups = {row.group for _, row in find_pareto_front(points)}
    line = [(x, 100 * row.top1) for x, row in shown if row.group in front_groups]
    axes.plot(*zip(*line, strict=True), color=FAINT, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    _scale_axes(axes, [x for x, _ in shown], axis)
    label_points(figure, axes, spots, bars)


def _scale_axes(axes: Axes, x: Sequence[float], axis: CostAxis) -> None:
    """Axes with room for the names; accuracy stays within 0 to 100 %."""
    lacking = max(0.0, axis.width - (x[-1] - x[0]))
    room = 0.18 * max(axis.width, x[-1] - x[0])
    axes.set_xlim(x[0] - room, x[-1] + room + lacking)
    axes.margins(y=0.15)
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, -2.0), min(high, 102.0))
    axes.set_xlabel(axis.label)
    axes.set_ylabel("test top-1, %")
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:.4g}"))


def separate_points(points: Sequence[tuple[float, ComparisonRow]], width: float) -> list[tuple[float, ComparisonRow]]:
    """The points by cost, those of (almost) the same cost moved side by side so that each interval can be seen.

    `width` is the least width of the axis.
    """
    points = sorted(points, key=lambda p: (p[0], p[1].top1))
    step = 0.02 * max(width, points[-1][0] - points[0][0])
    heaps: list[list[tuple[float, ComparisonRow]]] = []
    for point in points:
        if heaps and point[0] - heaps[-1][0][0] < step:
            heaps[-1].append(point)
        else:
            heaps.append([point])
    return [(x + step * (i - (len(heap) - 1) / 2), row) for heap in heaps for i, (x, row) in enumerate(heap)]


def find_pareto_front(points: Sequence[tuple[float, ComparisonRow]]) -> list[tuple[float, ComparisonRow]]:
    """The (cost, row) points that no other beats in cost or accuracy without losing in the other, by cost."""
    front_points: list[tuple[float, ComparisonRow]] = []
    for x, row in sorted(points, key=lambda p: (p[0], -p[1].top1)):
        if not front_points or row.top1 > front_points[-1][1].top1:
            front_points.append((x, row))
    return front_points
