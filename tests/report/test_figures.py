"""Facts of the pictures: they are made, they hold the data, names do not cover each other."""

import struct
from dataclasses import replace

import matplotlib
import pytest

from attncli import records
from attncli.report import figures, run_figures, style
from tests.track.recorded_runs import WHOLE, epoch, evaluation


def size(path):
    """Width and height of a PNG in pixels."""
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", head[16:24])


def test_curves_hold_the_records(tmp_path, drawn):
    """The lines are the losses and accuracies by epoch; the test set is a point at the last one."""
    assert figures.draw_curves([epoch(1, 0.5), epoch(2, 0.75), evaluation(0.7)], tmp_path / "c.png", "a run")
    loss, top1 = drawn[0].axes
    assert [list(line.get_ydata()) for line in loss.lines] == [[1.0, 0.5], [0.5, 0.5]]
    assert [list(line.get_ydata()) for line in top1.lines] == [[50.0, 75.0], [70.0]]
    assert {t.get_text() for t in top1.texts} == {"validation 75.0", "test 70.0"}
    assert size(tmp_path / "c.png") == (1440, 576)


def test_curves_say_the_best_epoch(tmp_path, drawn):
    """Where an earlier epoch was better the label says so; the last is the figure that counts."""
    figures.draw_curves([epoch(1, 0.9), epoch(2, 0.8)], tmp_path / "c.png")
    assert [t.get_text() for t in drawn[0].axes[1].texts] == ["validation 80.0, best 90.0"]


def test_curves_without_validation(tmp_path):
    """Runs without a validation part, or with a NaN loss, have a picture as well."""
    bare = [replace(epoch(n), val_loss=None, val_top1=None, val_top5=None) for n in (1, 2)]
    assert figures.draw_curves(bare, tmp_path / "a.png")
    assert figures.draw_curves([replace(e, train_loss=float("nan")) for e in bare], tmp_path / "b.png")
    assert figures.draw_curves([epoch(n) for n in range(1, 301)], tmp_path / "c.png")


@pytest.mark.parametrize("epochs", [0, 1])
def test_a_point_is_no_curve(tmp_path, epochs):
    """With less than two epochs there is no file."""
    assert not figures.draw_curves([*map(epoch, range(1, epochs + 1)), evaluation()], tmp_path / "c.png")
    assert not (tmp_path / "c.png").exists()


PICTURES = {
    "curves": lambda path: figures.draw_curves([epoch(1, 0.9), epoch(2, 0.8), evaluation(0.7)], path, "a run"),
    "tiny loss": lambda path: figures.draw_curves([replace(epoch(n), train_loss=1e-6 / n) for n in (1, 2)], path),
}


@pytest.mark.parametrize("name", PICTURES)
def test_nothing_is_cut_off(tmp_path, drawn, name):
    """Every text lies within the picture and below its title, and no panel touches another's texts."""
    PICTURES[name](tmp_path / "p.png")
    [made] = drawn
    made.draw_without_rendering()
    panels = [axes.get_tightbbox() for axes in made.axes]  # with all their texts
    top = min([made.bbox.y1, *(text.get_window_extent().y0 for text in made.texts)])
    for panel in panels:
        assert (panel.x0 >= 0, panel.x1 <= made.bbox.x1, panel.y0 >= 0, panel.y1 <= top) == (True,) * 4
    assert not any(a.overlaps(b) for i, a in enumerate(panels) for b in panels[:i])


def test_names_at_line_ends_are_spread():
    """Levels that touch move apart evenly; those that do not stay."""
    assert style._spread_labels([0.0, 100.0], 10) == [0.0, 100.0]
    found = style._spread_labels([50.0, 50.0, 50.0], 10)
    assert found == pytest.approx([40.0, 50.0, 60.0], abs=0.1)
    assert style._spread_labels([50.0, 50.0, 50.0], 10, highest=50.0) == pytest.approx([30.0, 40.0, 50.0], abs=0.1)


def test_settings_of_others_stay(tmp_path, monkeypatch):
    """A user's matplotlib settings neither change the picture nor are changed by it."""
    figures.draw_curves([epoch(1), epoch(2)], tmp_path / "a.png")
    monkeypatch.setitem(matplotlib.rcParams, "font.size", 30)
    figures.draw_curves([epoch(1), epoch(2)], tmp_path / "b.png")
    assert matplotlib.rcParams["font.size"] == 30
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_pictures_of_a_folder(tmp_path):
    """A finished run has all pictures, one that was interrupted its curves, one without two epochs none."""
    records.append_record(tmp_path, epoch(1))
    assert run_figures.draw_records(tmp_path, ["a", "b"]) == []
    records.append_record(tmp_path, epoch(2))
    assert [p.name for p in run_figures.draw_records(tmp_path, ["a", "b"])] == ["curves.png"]
    records.replace_log(tmp_path, WHOLE)
    assert [p.name for p in run_figures.draw_records(tmp_path, ["a", "b"], "a run")] == [
        "curves.png",
        "confusion.png",
        "classes.png",
    ]
