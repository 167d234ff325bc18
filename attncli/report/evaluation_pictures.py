"""Pictures of one evaluation as PNG files: the confusion matrix, and the accuracy of each class."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from PIL import Image

from attncli.palette import COLOURS, FAINT, GRID, INK
from attncli.records import Evaluation
from attncli.report.canvas import EDGE, GAP, LINE, Canvas, measure_text

MOST_NUMBERS = 20  # classes up to which every cell of a confusion matrix shows its count
MOST_BARS = 40  # classes up to which every class has its bar
MAX_NAME = 14  # characters of a class's name
MAX_OTHER_NAME = 24  # of the class that another one is taken for, beside the bars
LIGHT_PERCENT = 10.0  # % of a class; the colours of a confusion matrix reach at least that far
TITLE_POINTS, PANEL_POINTS, LABEL_POINTS, TICK_POINTS, NAME_POINTS = 12, 11, 10, 9, 8
SCALE_STEPS = 256  # colours of the scale
RIGHT_COLOUR, EMPTY_COLOUR = "#e3e3e3", "#ffffff"  # of cells on the diagonal, of cells without images
ORANGES = (  # from few to many (ColorBrewer's nine oranges, Brewer 2003)
    "#fff5eb", "#fee6ce", "#fdd0a2", "#fdae6b", "#fd8d3c", "#f16913", "#d94801", "#a63603", "#7f2704"
)  # fmt: skip


def draw_confusion(evaluation: Evaluation, classes: Sequence[str], path: Path, title: str = "") -> None:
    """Draw `make_confusion` into a PNG file."""
    make_confusion(evaluation, classes, title).save(path)


def make_confusion(evaluation: Evaluation, classes: Sequence[str], title: str = "") -> Canvas:
    """Return the picture of which class is taken for which.

    Mistakes are coloured by their share of the true class, the rest is grey.

    Args:
        evaluation: has the counts, true class by predicted class.
        classes: the names in the order of the labels.
        title: stands above the picture.
    """
    counts = evaluation.confusion
    shares = compute_mistakes(evaluation)
    highest = max(LIGHT_PERCENT, *(share for row in shares for share in row))  # so that few mistakes look like few
    side = min(10.0, 2.6 + 0.42 * len(counts)) if len(counts) <= MOST_NUMBERS else 8.5
    canvas = Canvas(side + 0.9, side)
    names = _name_classes(classes, len(counts))
    left, top, side = _place_matrix(canvas, names, len(counts), title)
    canvas.paste(paint_matrix(counts, shares, highest), (left, top, left + side, top + side))
    cell = side / len(counts)
    if len(counts) <= MOST_NUMBERS:
        _write_counts(canvas, counts, shares, highest, left, top, cell)
    _write_names(canvas, names, left, top, side, cell)
    correct = sum(row[i] for i, row in enumerate(counts))
    _write_header(canvas, title, f"{evaluation.split} set: {correct:,} of {evaluation.images:,} right", left, top)
    _draw_scale(canvas, left + side + 0.16, top + side / 8, 0.75 * side, highest)
    return canvas


def compute_mistakes(evaluation: Evaluation) -> list[list[float]]:
    """Return the share of each cell of the confusion matrix in its true class, in %; 0 on the diagonal."""
    totals = [images or 1 for images in evaluation.count_images_by_class()]
    return [
        [0.0 if i == j else 100 * count / totals[i] for j, count in enumerate(row)]
        for i, row in enumerate(evaluation.confusion)
    ]


def paint_matrix(counts: Sequence[Sequence[int]], shares: Sequence[Sequence[float]], highest: float) -> Image.Image:
    """Return the matrix with one pixel for each cell."""
    picture = Image.new("RGB", (len(counts), len(counts)), EMPTY_COLOUR)
    for i, row in enumerate(counts):
        for j, count in enumerate(row):
            if i == j or count:
                colour = RIGHT_COLOUR if i == j else choose_orange(shares[i][j] / highest)
                picture.paste(colour, (j, i, j + 1, i + 1))
    return picture


def choose_orange(share: float) -> str:
    """Return the colour for a share of the scale, from 0 to 1."""
    position = min(max(share, 0.0), 1.0) * (len(ORANGES) - 1)
    first = min(int(position), len(ORANGES) - 2)
    lower, upper = (bytes.fromhex(colour[1:]) for colour in ORANGES[first : first + 2])
    mixed = (round(a + (position - first) * (b - a)) for a, b in zip(lower, upper, strict=True))
    return f"#{bytes(mixed).hex()}"


def _write_counts(
    canvas: Canvas,
    counts: Sequence[Sequence[int]],
    shares: Sequence[Sequence[float]],
    highest: float,
    left: float,
    top: float,
    cell: float,
) -> None:
    """Write the count into every cell that is not empty, in white if the cell is dark."""
    for i, row in enumerate(counts):
        for j, count in enumerate(row):
            if count:
                colour = "white" if i != j and shares[i][j] > 0.6 * highest else INK
                canvas.write(
                    str(count), left + (j + 0.5) * cell, top + (i + 0.5) * cell, 8.5, anchor="mm", colour=colour
                )


def _name_classes(classes: Sequence[str], class_count: int) -> list[str]:
    """Return the names beside the matrix; none if there are too many."""
    return [] if class_count > 3 * MOST_NUMBERS else [shorten_class_name(name) for name in classes]


def _choose_name_points(class_count: int) -> int:
    return NAME_POINTS if class_count <= MOST_NUMBERS else 6


def _are_slanted(names: Sequence[str]) -> bool:
    return max(map(len, names), default=0) > 2


def _measure_header(title: str) -> float:
    """Return the height above the panel, for its title and for the picture's if it has one."""
    return 0.56 if title else 0.36


def _measure_widest(texts: Sequence[str], points: float) -> float:
    return max((measure_text(text, points) for text in texts), default=0.0)


def _place_matrix(canvas: Canvas, names: Sequence[str], class_count: int, title: str) -> tuple[float, float, float]:
    """Return left edge, upper edge and side of the matrix, as large as the texts around it allow."""
    points = _choose_name_points(class_count)
    widest, header = _measure_widest(names, points), _measure_header(title)
    left_margin = EDGE + LINE + 2 * GAP + widest
    name_height = (widest + points / 72) * 0.71 if _are_slanted(names) else points / 72
    bottom_margin = EDGE + LINE + 1.2 * GAP + name_height
    right_margin = 0.16 + 0.13 + 3 * GAP + measure_text("100", TICK_POINTS) + LINE
    room = canvas.width - left_margin - right_margin, canvas.height - bottom_margin - header
    side = min(room)
    return left_margin + (room[0] - side) / 2, header + (room[1] - side) / 2, side


def _write_names(canvas: Canvas, names: Sequence[str], left: float, top: float, side: float, cell: float) -> None:
    """Write the names of the classes at the left of the matrix and below it, and what the two sides are."""
    points = _choose_name_points(len(names))
    for i, name in enumerate(names):
        canvas.write(name, left - 0.6 * GAP, top + (i + 0.5) * cell, points, anchor="rm")
        x, y = left + (i + 0.5) * cell, top + side + 0.6 * GAP
        if _are_slanted(names):
            canvas.write(name, x + points / 144, y, points, anchor="rt", angle=45)
        else:
            canvas.write(name, x, y, points, anchor="mt")
    label_right = left - 1.6 * GAP - _measure_widest(names, points)
    canvas.write("true class", label_right, top + side / 2, LABEL_POINTS, anchor="rm", angle=90)
    canvas.write("taken for", left + side / 2, canvas.height - EDGE, LABEL_POINTS, anchor="mb")


def _write_header(canvas: Canvas, title: str, panel_title: str, left: float, top: float) -> None:
    """Write the title of the picture, and that of its panel, whose upper left corner is given."""
    canvas.write(title, 0.01 * canvas.width, 0.03, TITLE_POINTS, anchor="lt", bold=True)
    canvas.write(panel_title, left, top - 0.1, PANEL_POINTS, anchor="lb")


def _draw_scale(canvas: Canvas, left: float, top: float, height: float, highest: float) -> None:
    """Draw the scale of the mistakes' colours, with its numbers."""
    right = left + 0.13
    canvas.paste(_paint_scale(), (left, top, right, top + height))
    for tick in list_ticks(highest):
        y = top + height * (1 - tick / highest)
        canvas.fill((right, y, right + 0.05, y), INK)
        canvas.write(str(tick), right + 0.09, y, TICK_POINTS)
    label_left = right + 0.09 + measure_text("100", TICK_POINTS) + GAP
    canvas.write("mistakes, % of the true class", label_left, top + height / 2, LABEL_POINTS, angle=90)


@cache
def _paint_scale() -> Image.Image:
    """Return the colours of the scale from the highest to 0, one pixel each, below each other."""
    strip = Image.new("RGB", (1, SCALE_STEPS))
    for row in range(SCALE_STEPS):
        strip.paste(choose_orange(1 - row / (SCALE_STEPS - 1)), (0, row, 1, row + 1))
    return strip


def list_ticks(highest: float) -> range:
    """Return about five to ten whole numbers from 0 to `highest` (from 10 to 100), at even distances."""
    step = next(step for step in (2, 5, 10) if highest / step <= 10)
    return range(0, int(highest) + 1, step)


def draw_class_accuracy(evaluation: Evaluation, classes: Sequence[str], path: Path, title: str = "") -> None:
    """Draw `make_class_accuracy` into a PNG file."""
    make_class_accuracy(evaluation, classes, title).save(path)


def make_class_accuracy(evaluation: Evaluation, classes: Sequence[str], title: str = "") -> Canvas:
    """Return the picture of each class's accuracy, the worst at the bottom, with the class that it is mistaken for.

    If there are more than MOST_BARS classes, the worst and the best are shown. A class without images has no accuracy
    and no bar. Arguments as in `make_confusion`.
    """
    counts, class_sizes = evaluation.confusion, evaluation.count_images_by_class()
    accuracies = [(100 * row[i] / class_sizes[i], i) for i, row in enumerate(counts) if class_sizes[i]]
    accuracies.sort(key=lambda accuracy: (-accuracy[0], accuracy[1]))
    shown = accuracies if len(accuracies) <= MOST_BARS else accuracies[: MOST_BARS // 2] + accuracies[-MOST_BARS // 2 :]
    names = [shorten_class_name(classes[i]) for _, i in shown]
    labels = [_label_class(value, counts[i], class_sizes[i], i, classes) for value, i in shown]
    canvas = Canvas(7.2, 1.3 + 0.27 * len(shown))
    left, top = EDGE + GAP + _measure_widest(names, NAME_POINTS), _measure_header(title)
    right = canvas.width - EDGE - GAP - _measure_widest(labels, NAME_POINTS)
    bottom = canvas.height - EDGE - LINE
    _draw_percent_axis(canvas, left, top, right, bottom)
    per_bar = (bottom - top) / len(shown)
    for row, ((value, _), name, label) in enumerate(zip(shown, names, labels, strict=True)):
        y = top + (row + 0.5) * per_bar
        canvas.fill((left, y - 0.36 * per_bar, left + value / 100 * (right - left), y + 0.36 * per_bar), COLOURS[4])
        canvas.write(name, left - 0.6 * GAP, y, NAME_POINTS, anchor="rm")
        canvas.write(label, right + 0.6 * GAP, y, NAME_POINTS)
    _draw_dashed_line(canvas, left + evaluation.top1 * (right - left), top, bottom)
    note = "" if len(shown) == len(counts) else f", {len(shown)} of {len(counts)} classes"
    panel_title = f"{evaluation.split} accuracy by class, %{note} (dashed: all, {evaluation.top1:.2%})"
    _write_header(canvas, title, panel_title, left, top)
    return canvas


def _draw_percent_axis(canvas: Canvas, left: float, top: float, right: float, bottom: float) -> None:
    """Draw the edges of a panel from 0 to 100 %, with its numbers and the lines above them."""
    for percent in range(0, 101, 20):
        x = left + percent / 100 * (right - left)
        canvas.fill((x, top, x, bottom), GRID)
        canvas.fill((x, bottom, x, bottom + 0.04), INK)
        canvas.write(str(percent), x, canvas.height - EDGE / 2, TICK_POINTS, anchor="mb")
    canvas.fill((left, top, left, bottom), FAINT)
    canvas.fill((left, bottom, right, bottom), FAINT)


def _draw_dashed_line(canvas: Canvas, x: float, top: float, bottom: float) -> None:
    dash, y = 0.055, top
    while y < bottom:
        canvas.fill((x, y, x + 0.014, min(y + dash, bottom)), INK)
        y += 1.75 * dash


def _label_class(value: float, row: Sequence[int], images: int, i: int, classes: Sequence[str]) -> str:
    """Return the accuracy (%) of class i and the class that it is most often mistaken for; `images` are in class i."""
    mistakes, other = max(((c, j) for j, c in enumerate(row) if j != i), default=(0, i))
    if not mistakes:
        return f"{value:.1f}"
    return f"{value:.1f}   {100 * mistakes / images:.1f} as {shorten_class_name(classes[other], MAX_OTHER_NAME)}"


def shorten_class_name(name: str, most: int = MAX_NAME) -> str:
    """Return a class's name, cut if it has more than `most` characters."""
    return name if len(name) <= most else name[: most - 1] + "…"
