"""Figures of compared runs: which points they show, that names do not cover each other, and the SVG of the page."""

import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from attncli.analysis.compare import compare_variants
from attncli.errors import UserError
from attncli.palette import COLOURS, FAINT, INK
from attncli.report import cost_figures, variant_style
from attncli.report.cost_figures import draw_cost_chart
from attncli.report.curve_figure import draw_learning_curves
from attncli.report.difference_figures import draw_difference_rows, draw_differences, is_crowded
from attncli.report.variant_style import MOST_NAMED, choose_colours
from tests.analysis.case import BASELINE, finished, finished_pairs
from tests.track.recorded_runs import epoch

SVG = "{http://www.w3.org/2000/svg}"


def cost_rows(*variants):
    """Comparison rows of (mechanism, top-1, overhead in % of the parameters)."""
    return compare_variants([finished(a, 0, t, params=BASELINE * (1 + p / 100)) for a, t, p in variants])


def test_front():
    """Only what nothing cheaper or as cheap beats is on the front."""
    rows = cost_rows(("none", 0.90, 1), ("eca", 0.92, 1), ("se", 0.91, 2), ("cbam", 0.93, 3))
    found = cost_figures.find_pareto_front([(r.params_pct, r) for r in rows])
    assert [r.variant for _, r in found] == ["eca", "cbam"]


def test_points_stand_at_their_cost(tmp_path, drawn):
    """Points of (almost) one cost are not moved apart: the plain network is at 0, what adds a thousandth beside it."""
    rows = cost_rows(("none", 0.90, 0), ("eca", 0.92, 0.001), ("cbam", 0.93, 3))
    cost_figures.draw_pareto(rows, tmp_path / "p.png")
    points = [tuple(line.get_xdata()) for line in drawn[0].axes[0].lines if line.get_marker() in "so"]
    assert points == [(pytest.approx(cost, abs=1e-9),) for cost in (0, 0.001, 3)]


def test_intervals_of_one_cost_differ_in_width():
    """Of intervals at one cost the one drawn first is the widest; others are thin."""
    first, second, alone = cost_figures.widen_hidden_intervals([0.1, 0.101, 0.9])
    assert first > second == alone


def test_one_large_cost_does_not_press_the_others_together(tmp_path, drawn):
    """Overheads over five orders of magnitude stand apart, in their order."""
    costs = (0, 0.01, 0.1, 1, 10, 300)
    cost_figures.draw_pareto(cost_rows(*((f"m{cost}", 0.9, cost) for cost in costs)), tmp_path / "p.png")
    axes = drawn[0].axes[0]
    places = [axes.transAxes.inverted().transform(axes.transData.transform((cost, 90)))[0] for cost in costs]
    assert all(b - a > 0.05 for a, b in pairwise([0, *places, 1]))


def test_long_titles_and_names_fit(tmp_path, drawn):
    """Titles of panels beside each other do not touch, and options at the end of a name stay."""
    runs = [finished("none", train__epochs=n, train__batch_size=64 * n, train__lr=n / 7) for n in (1, 2)]
    runs = [replace(run, result=replace(run.result, params=BASELINE)) for run in runs]
    rows = [replace(r, recipe=f"{r.recipe} data=4a606a6f data.per_class=200") for r in compare_variants(runs)]
    cost_figures.draw_pareto(rows, tmp_path / "p.png")
    drawn[0].draw_without_rendering()
    first, second = (axes._left_title.get_window_extent() for axes in drawn[0].axes)
    assert first.x1 < second.x0
    assert second.x1 < drawn[0].bbox.x1
    names = [variant_style.shorten_variant(f"cbam(kernel_size={k}, pool_types=[avg])") for k in (3, 7)]
    assert names[0][-5:] == "avg])"
    assert len(names[0]) == variant_style.MAX_NAME


@pytest.mark.parametrize(("suffix", "start"), [("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_papers_get_vectors(tmp_path: Path, suffix: str, start: bytes) -> None:
    """With fonts that publishers take; the same figures are the same file, whenever they were drawn."""
    rows = cost_rows(("none", 0.90, 0), ("eca", 0.92, 1))
    files = [tmp_path / f"{name}.{suffix}" for name in "ab"]
    for file in files:
        cost_figures.draw_pareto(rows, file)
    content = files[0].read_bytes()
    assert content.startswith(start)
    assert b"/Type3" not in content
    assert b"<image" not in content
    assert content == files[1].read_bytes()


def test_the_dashed_line_is_explained(tmp_path, drawn):
    """What the line of the front means stands below the axis, if there is a line."""
    cost_figures.draw_pareto(cost_rows(("none", 0.90, 0), ("eca", 0.92, 1)), tmp_path / "p.png")
    cost_figures.draw_pareto(cost_rows(("none", 0.90, 0), ("eca", 0.89, 1)), tmp_path / "q.png")
    assert [cost_figures.FRONT_NOTE in figure.axes[0].get_xlabel() for figure in drawn] == [True, False]


def test_one_epoch_is_no_curve():
    """A chart of a single epoch would be empty: there is none."""
    rows = compare_variants([finished("eca", 0, 0.9)])
    assert draw_learning_curves(rows, {"eca": [[epoch(1, 0.5)]]}) == ""
    assert draw_learning_curves(rows, {"eca": [[epoch(1, 0.5), epoch(2, 0.6)]]}) != ""


def test_tiny_overheads_look_tiny(tmp_path, drawn):
    """An overhead of a ten-thousandth does not fill the axis, and no interval leaves 0 to 100 %."""
    runs = [
        finished(a, s, t, params=BASELINE * (1 + p / 100))
        for a, p in (("none", 0), ("eca", 0.01))
        for s, t in ((0, 0.2), (1, 0.9))
    ]
    cost_figures.draw_pareto(compare_variants(runs), tmp_path / "p.png")
    axes = drawn[0].axes[0]
    assert axes.get_xlim()[1] - axes.get_xlim()[0] > 0.5
    assert axes.get_ylim()[0] >= -2
    assert axes.get_ylim()[1] <= 102


def test_names_do_not_cover_each_other(tmp_path, drawn):
    """Variants near each other, four of them of one cost and accuracy, have names that do not touch."""
    near = [(f"variant-{i}", 0.9 + 0.01 * (i % 3), 10 + i // 3) for i in range(6)]
    rows = cost_rows(*near, *((f"same-{i}", 0.95, 10) for i in range(4)))
    cost_figures.draw_pareto(rows, tmp_path / "p.png")
    axes = drawn[0].axes[0]
    drawn[0].draw_without_rendering()
    boxes = [t.get_window_extent() for t in axes.texts]
    assert len(boxes) == 10
    assert sum(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i]) == 0


def test_pareto_has_a_panel_for_each_recipe(tmp_path, drawn):
    """Runs of other recipes are not in one panel; the plain network is marked as such."""
    runs = [
        finished("none", params=BASELINE),
        finished("none", train__epochs=30, params=BASELINE),
    ]
    cost_figures.draw_pareto(compare_variants(runs), tmp_path / "p.png")
    assert [a.get_title("left") for a in drawn[0].axes] == [
        "digits, resnet18 (train.epochs=12)",
        "digits, resnet18 (train.epochs=30)",
    ]
    assert [t.get_text() for t in drawn[0].axes[0].texts] == ["none"]


@pytest.mark.parametrize("count", [2, 4, 5])
def test_no_panel_is_empty(tmp_path, drawn, count):
    """Places of the grid for which there is no recipe stay blank."""
    runs = [finished("none", train__epochs=epochs, params=BASELINE) for epochs in range(1, count + 1)]
    cost_figures.draw_pareto(compare_variants(runs), tmp_path / "p.png")
    shown = [axes for axes in drawn[0].axes if axes.get_visible()]
    assert len(shown) == count
    assert all(axes.lines and axes.get_title("left") for axes in shown)


def test_pareto_without_the_cost(tmp_path):
    """Where nobody measured the cost asked for, the error says how to."""
    with pytest.raises(UserError, match="train-time"):
        cost_figures.draw_pareto(compare_variants([finished("eca")]), tmp_path / "p.png", "train-time")


def test_unknown_cost(tmp_path):
    """A cost that is none of ours is an error with the list."""
    with pytest.raises(UserError, match="unknown cost: 'param'") as caught:
        cost_figures.draw_pareto(compare_variants([finished("eca")]), tmp_path / "p.png", "param")
    assert "'params'" in caught.value.hint


def paired_rows():
    """Three seeds of eca and of the plain network, with parameters."""
    runs = finished_pairs("eca", [0.91, 0.92, 0.90], [0.90, 0.905, 0.893])
    counts = {"eca": 1.02 * BASELINE, "none": BASELINE}
    return compare_variants([replace(r, result=replace(r.result, params=counts[r.result.attn])) for r in runs])


def read_tooltips(chart):
    """The tooltips of a chart, which is XML."""
    return [title.text for title in ET.fromstring(chart).iter(f"{SVG}title")]


def test_tooltips_have_the_figures():
    """Each difference, point and curve names its variant and its figures."""
    rows = paired_rows()
    [difference] = read_tooltips(draw_differences(rows))
    assert difference.startswith("eca: +1.07 ±")
    assert "3 seeds" in difference
    points = read_tooltips(draw_cost_chart(rows, "params"))
    assert [(text.partition(":")[0], text.rpartition(" ")[2]) for text in points] == [("none", "0"), ("eca", "2")]
    curves = read_tooltips(draw_learning_curves(rows, {"eca": [[epoch(1, 0.5), epoch(2, 0.75)]] * 2}))
    assert curves == ["eca: 75.00 %"]


def test_a_chart_is_named_and_scales():
    """A screen reader has a name to say, and the figure takes the width of the page."""
    drawing = ET.fromstring(draw_differences(paired_rows()))
    assert (drawing.get("role"), drawing.get("width")) == ("img", None)
    assert drawing.get("aria-label")
    assert drawing.get("viewBox", "").startswith("0 0 ")


def test_a_chart_is_the_same_every_time():
    """Equal data give equal bytes."""
    assert draw_cost_chart(paired_rows(), "params") == draw_cost_chart(paired_rows(), "params")


def test_odd_names_are_escaped():
    """Variants of users may have any name."""
    rows = compare_variants([finished("<b>&", 0, 0.9), finished("none", 0, 0.8)])
    [tooltip] = read_tooltips(draw_differences(rows))
    assert tooltip.startswith("<b>&: +10.00 points")


def test_charts_of_nothing_are_empty():
    """No baseline, no cost, no epochs: no chart."""
    rows = compare_variants([finished("eca", 0, 0.9)])
    assert draw_differences(rows) == ""
    assert draw_cost_chart(rows, "train-time") == ""
    assert draw_learning_curves(rows, {"eca": [[]]}) == ""


def test_differences_near_zero_look_small(drawn):
    """The axis of differences is half a point wide at least."""
    draw_differences(compare_variants([finished("eca", 0, 0.9001), finished("none", 0, 0.9)]))
    low, high = drawn[0].axes[0].get_xlim()
    assert high - low >= 0.5


def test_a_variant_has_one_colour_in_all_charts():
    """The plain network is dark, six variants have a colour each, later ones are grey."""
    rows = compare_variants([finished("none", 0, 0.5), *(finished(f"v{i}", 0, 0.9 - i / 100) for i in range(8))])
    colours = choose_colours(rows)
    assert colours["none"] == INK
    assert [colours[f"v{i}"] for i in range(8)] == [*COLOURS, FAINT, FAINT]


def test_names_of_many_curves_stay_in_the_picture(drawn):
    """Ten curves that end at one accuracy have their names above each other, none outside."""
    rows = compare_variants([finished(f"v{i}", 0, 0.9) for i in range(10)])
    draw_learning_curves(rows, {row.variant: [[epoch(1, 0.5), epoch(2, 0.9)]] for row in rows})
    [figure] = drawn
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(boxes) == 10
    assert all(box.y1 <= figure.bbox.y1 and box.x1 <= figure.bbox.x1 for box in boxes)
    assert sum(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i]) == 0


def many_rows(count=30, others=()):
    """Two seeds each of many variants: the first is 15 points better than the plain network, each next one less."""
    runs = [finished("none", seed, 0.5 + seed / 1000, params=BASELINE) for seed in (0, 1)]
    for i in range(count):
        params = BASELINE * (0.9 if i == 1 else 1 + 10.0 ** (i % 5) / 1e4)
        runs += [finished(f"v{i:02}", seed, 0.65 - i / 100 + seed / 900, params=params) for seed in (0, 1)]
    return compare_variants([*runs, *others], planned_seeds=2)


def test_many_variants_have_a_row_each(tmp_path, drawn):
    """From the best to the worst, each at its difference and its cost; hollow if the interval holds 0."""
    rows = many_rows()
    assert is_crowded(rows)
    assert not is_crowded(many_rows(MOST_NAMED))
    draw_difference_rows(rows, tmp_path / "d.png")
    differences, costs = drawn[-1].axes
    assert [t.get_text() for t in differences.get_yticklabels()] == [f"v{i:02}" for i in range(30)]
    points = [line for line in differences.lines if line.get_marker() == "o"]
    assert [p.get_xdata()[0] for p in points] == pytest.approx([15.0 - i + 0.0056 for i in range(30)], abs=0.01)
    hollow = [p.get_markerfacecolor() == "white" for p in points]
    holding = [row.joint.low <= 0 <= row.joint.high for row in rows if row.joint]
    assert hollow == holding
    assert 0 < sum(hollow) < 30
    places = {line.get_ydata()[0]: line.get_xdata()[0] for line in costs.lines if line.get_marker() == "o"}
    assert [places[i] for i in (0, 1, 2, 4)] == pytest.approx([0.01, -10, 1, 100])


def test_many_variants_beside_a_lone_plain_network(tmp_path, drawn):
    """A recipe that has only its plain network has no difference to show, and takes no part in the figure."""
    rows = many_rows(others=[finished("none", 0, 0.5, params=BASELINE, train__epochs=30)])
    draw_difference_rows(rows, tmp_path / "d.png")
    assert [axes.get_title("left") for axes in drawn[-1].axes] == ["digits, resnet18 (train.epochs=12)", ""]


def test_of_many_variants_those_without_the_cost_have_their_row(tmp_path, drawn):
    """Where speeds were not measured the difference stands alone; a recipe without any speed has no panel of costs."""
    lone = [finished(attn, 0, top1, train__epochs=30) for attn, top1 in (("none", 0.5), ("eca", 0.6))]
    rows = many_rows(others=[finished("timed", seed, 0.7, train_ratio=0.5) for seed in (0, 1)] + lone)
    draw_difference_rows(rows, tmp_path / "d.png", "train-time")
    assert [len(axes.get_yticklabels()) for axes in drawn[-1].axes[::2]] == [31, 1]
    timed, untimed = drawn[-1].axes[1::2]
    assert (timed.get_visible(), untimed.get_visible()) == (True, False)
    assert [line.get_xdata()[0] for line in timed.lines if line.get_marker() == "o"] == [pytest.approx(2.0)]


def test_names_of_many_rows_stay_in_the_picture(tmp_path, drawn):
    """All names and numbers are inside and apart, and so are the labels of the axes."""
    draw_difference_rows(many_rows(), tmp_path / "d.png")
    figure = drawn[-1]
    figure.draw_without_rendering()
    for axes in figure.axes:
        low, high = axes.get_xlim()
        shown_ticks = [t.label1 for t in axes.xaxis.get_major_ticks() if low <= t.get_loc() <= high]
        for texts in (axes.get_yticklabels(), shown_ticks, axes.texts):
            boxes = [t.get_window_extent() for t in texts if t.get_text()]
            assert all(b.x0 >= 0 and b.x1 <= figure.bbox.x1 and b.y0 >= 0 and b.y1 <= figure.bbox.y1 for b in boxes)
            assert sum(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i]) == 0
    labels = [axes.xaxis.label.get_window_extent() for axes in figure.axes]
    assert not labels[0].overlaps(labels[1])
    assert all(box.y0 >= 0 for box in labels)


def test_of_many_points_the_best_are_named(drawn):
    """The plain network, the six best and those on the front; costs below 0 take part in the logarithmic axis."""
    rows = many_rows()
    assert draw_cost_chart(rows, "params")
    axes = drawn[-1].axes[0]
    front = {row.variant for _, row in cost_figures.find_pareto_front([(r.params_pct, r) for r in rows])}
    assert {t.get_text() for t in axes.texts} == {"none", *(f"v{i:02}" for i in range(6))} | front
    assert len([line for line in axes.lines if line.get_marker() in "so"]) == 31
    assert axes.get_xscale() == "symlog"
    assert axes.get_xlim()[0] < -10


def test_of_many_curves_the_best_are_named(drawn):
    """Thirty names would not fit beside the panel."""
    rows = many_rows()
    draw_learning_curves(rows, {row.variant: [[epoch(1, 0.5), epoch(2, 0.9)]] for row in rows})
    assert len(drawn[-1].axes[0].texts) == 7
