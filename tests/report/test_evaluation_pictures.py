"""Facts of the pictures of an evaluation: they hold its counts, nothing is cut off, and matplotlib is not loaded."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from attncli.records import Evaluation
from attncli.report import fonts
from attncli.report.canvas import DPI, Canvas, choose_font, measure_text
from attncli.report.evaluation_pictures import (
    MOST_BARS,
    ORANGES,
    RIGHT_COLOUR,
    choose_orange,
    compute_mistakes,
    draw_confusion,
    list_ticks,
    make_class_accuracy,
    make_confusion,
    paint_matrix,
)
from tests.track.recorded_runs import evaluation

LONG = ["a class with a long name", "b"]


def diagonal(n: int) -> Evaluation:
    """Return an evaluation of n classes without a mistake."""
    confusion = [[int(i == j) for j in range(n)] for i in range(n)]
    return Evaluation(split="test", images=n, loss=0.1, top1=1.0, top5=1.0, images_per_s=1.0, confusion=confusion)


def pixel(picture: Image.Image, x: int, y: int) -> str:
    """Return the colour of a pixel."""
    return "#" + bytes(picture.getpixel((x, y))).hex()


@pytest.mark.parametrize("make", [make_confusion, make_class_accuracy])
@pytest.mark.parametrize(
    ("of", "classes", "title"),
    [
        (evaluation(), LONG, "a run"),
        (evaluation(), ["0", "1"], ""),
        (diagonal(15), [f"a class with a long name {i}" for i in range(15)], "a run"),
        (diagonal(90), [f"name {i}" for i in range(90)], "a run"),
    ],
)
def test_nothing_is_cut_off(make: type, of: Evaluation, classes: list[str], title: str) -> None:
    """Every text lies within the picture, which is no larger than a screen, and covers no other one."""
    canvas: Canvas = make(of, classes, title)
    assert max(canvas.image.size) <= 2000
    boxes = [box for _, box in canvas.texts]
    for left, upper, right, lower in boxes:
        assert (left >= 0, upper >= 0, right <= canvas.width, lower <= canvas.height) == (True,) * 4
    slanted = {name[:13] for name in classes}
    level = [box for text, box in canvas.texts if text[:13] not in slanted]
    for n, a in enumerate(level):
        assert not any(a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3] for b in level[:n])


def test_counts_stand_in_their_cells() -> None:
    """Every count that is not zero; the names of the classes are at both sides."""
    canvas = make_confusion(evaluation(), ["cat", "dog"])
    places = {text: box for text, box in canvas.texts if text in ("1", "2")}
    assert [text for text, _ in canvas.texts if text.isdigit()][:3] == ["2", "1", "1"]
    assert places["2"][3] < places["1"][1], "the first row is the first class"
    assert [text for text, _ in canvas.texts].count("dog") == 2
    left, upper, *_ = places["2"]
    assert pixel(canvas.image, int(left * DPI) - 10, int(upper * DPI)) == RIGHT_COLOUR


def test_mistakes_are_coloured_by_their_share() -> None:
    """Of the true class; the diagonal is grey, and cells without images are empty."""
    counts = [[2, 0], [1, 1]]
    shares = compute_mistakes(replace(evaluation(), confusion=counts))
    assert shares == [[0.0, 0.0], [50.0, 0.0]]
    picture = paint_matrix(counts, shares, 50.0)
    assert [pixel(picture, *place) for place in ((0, 0), (1, 0), (0, 1), (1, 1))] == [
        RIGHT_COLOUR, "#ffffff", ORANGES[-1], RIGHT_COLOUR
    ]  # fmt: skip
    assert (choose_orange(0), choose_orange(0.5), choose_orange(2)) == (ORANGES[0], ORANGES[4], ORANGES[-1])


def test_images_without_a_finite_loss_are_in_their_class() -> None:
    """They are no mistake for another class, but the class is larger by them."""
    unfinished = replace(evaluation(), confusion=[[2, 0], [1, 1]], nonfinite_by_class=[0, 2])
    assert compute_mistakes(unfinished) == [[0.0, 0.0], [25.0, 0.0]]
    texts = [text for text, _ in make_class_accuracy(unfinished, ["cat", "dog"]).texts]
    assert "25.0   25.0 as cat" in texts


def test_a_class_without_images_has_no_accuracy() -> None:
    """It is not drawn as one of which every image is wrong."""
    counts = [[3, 1, 0], [0, 4, 0], [0, 0, 0]]
    canvas = make_class_accuracy(replace(evaluation(), confusion=counts), ["cat", "dog", "emu"])
    texts = [text for text, _ in canvas.texts]
    assert {"cat", "dog"} <= {*texts}
    assert "emu" not in texts
    assert any("2 of 3 classes" in text for text in texts)


def test_few_mistakes_look_few() -> None:
    """The colours reach to 10 % of a class at least, so a nearly perfect network has a pale picture."""
    good = Evaluation(
        split="test", images=200, loss=0.1, top1=0.995, top5=1.0, images_per_s=1.0, confusion=[[99, 1], [0, 100]]
    )
    assert "10" in [text for text, _ in make_confusion(good, ["a", "b"]).texts]
    assert [list(list_ticks(highest))[-1] for highest in (10.0, 19.9, 20.1, 50.0, 100.0)] == [10, 18, 20, 50, 100]
    assert max(len(list_ticks(highest)) for highest in range(10, 101)) == 11


def test_bars_are_as_long_as_the_accuracy() -> None:
    """The best class is at the top, with what it is mistaken for; of many classes the best and the worst are shown."""
    canvas = make_class_accuracy(evaluation(), ["cat", "dog"])
    texts = [text for text, _ in canvas.texts]
    assert texts.index("cat") < texts.index("dog")
    assert "100.0" in texts
    assert "50.0   50.0 as cat" in texts
    many = [text for text, _ in make_class_accuracy(diagonal(90), [f"n{i}" for i in range(90)]).texts]
    assert sum(text.startswith("n") for text in many) == MOST_BARS
    assert any("40 of 90 classes" in text for text in many)


def test_long_names_leave_room_for_the_bars() -> None:
    """ImageNet names a class by all its synonyms; the panel has a third of the picture at least."""
    classes = [
        "American Staffordshire terrier, Staffordshire terrier, American pit bull terrier, pit bull terrier",
        "b",
    ]
    canvas = make_class_accuracy(evaluation(), classes)
    boxes = dict(canvas.texts)
    assert any(text.startswith("50.0   50.0 as American") for text in boxes)
    assert boxes["100"][0] - boxes["0"][0] > canvas.width / 3


def test_characters_that_the_main_font_lacks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are drawn in another font of the machine; what no font has is named once."""
    lists = fonts.list_fonts()
    other = next(path for name, path in lists if name == "STIXGeneral")
    monkeypatch.setattr(fonts, "find_missing_characters", lambda text: frozenset(text) - {"a"})
    monkeypatch.setattr(fonts, "choose_families", lambda characters: (("STIXGeneral",), frozenset("é")))
    monkeypatch.setattr(fonts, "_reported", set())
    assert choose_font("aé", 8).path == other
    assert choose_font("aé", 9).path == other
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert measure_text("aé", 9) > measure_text("a", 9) > measure_text("", 9) == 0.0


def test_matplotlib_is_not_loaded(tmp_path: Path) -> None:
    """It takes longer to load than a short run trains."""
    code = (
        "import sys; from attncli.report import run_figures; from attncli.report.canvas import measure_text; "
        "measure_text('a', 9); sys.exit('matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    draw_confusion(evaluation(), ["cat", "dog"], tmp_path / "c.png", "a run")
    with Image.open(tmp_path / "c.png") as picture:
        assert (picture.format, picture.text["Software"]) == ("PNG", "attncli")
    assert [path.name for path in tmp_path.iterdir()] == ["c.png"]
