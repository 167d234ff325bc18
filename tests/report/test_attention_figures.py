"""Figures of attention: which sites a sheet shows, what its panels say, and scales that make noise look like noise."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from attncli.interpret.analyze import AttentionAnalysis, ImageAnalysis
from attncli.interpret.observations import SiteDistribution, SiteView
from attncli.report.attention_figures import draw_distributions, gates, image_sheet
from attncli.report.attention_figures.primitives import PanelInputs

CLASSES = ("English springer", "tench")


def make_view(site, what="gate"):
    """A gate of three channels at a site."""
    return SiteView(site, "gate", what, np.ones((3, 1, 1), np.float32), channels=np.array([0.1, 0.5, 0.9], np.float32))


def make_distribution(site, what="gate", spread=0.2):
    """The gates of four images, of each class two."""
    values = (0.5 + spread * np.linspace(-1, 1, 12).reshape(4, 3)).astype(np.float32)
    return SiteDistribution(site, "gate", what, "gate", values, np.array([0, 1, 0, 1]))


def test_a_sheet_shows_whole_sites_and_says_how_many():
    """Of nine sites with two gates each three are drawn, each with both gates, and the sheet says so."""
    views = [make_view(f"layer{i}", what) for i in range(9) for what in ("channel gate", "spatial gate")]
    shown, note = image_sheet.choose_views(views)
    assert [(v.site, v.what) for v in shown] == [
        (f"layer{i}", f"{what} gate") for i in (0, 4, 8) for what in ("channel", "spatial")
    ]
    assert note.startswith("3 of 9 sites")
    assert image_sheet.choose_views(views[:4]) == (views[:4], "")
    assert image_sheet.choose_views([]) == ([], "")


@pytest.mark.parametrize(("count", "most", "chosen"), [(9, 3, [0, 4, 8]), (9, 1, [8]), (2, 6, [0, 1])])
def test_sites_are_picked_evenly(count, most, chosen):
    """The first and the last are there; of one it is the last."""
    assert image_sheet.pick_evenly([str(i) for i in range(count)], most) == [str(i) for i in chosen]


def test_a_map_of_gradcam_says_what_it_is():
    """Class and number of places; a map of zeros says that no place speaks for the class."""
    assert "2 x 3 places" in image_sheet.describe_cam(np.ones((2, 3)), "tench")
    assert "none" in image_sheet.describe_cam(np.zeros((2, 3)), "tench")
    assert "tench" in image_sheet.describe_cam(np.zeros((2, 3)), "tench")
    assert "no map" in image_sheet.describe_cam(None, "tench")


def test_noise_of_rounding_is_drawn_small():
    """Gates that differ by a millionth do not fill the colours or the axis; real differences do."""
    means = np.full(3, 0.5)
    assert gates.choose_colour_limit(np.full((2, 3), 1e-6), means) > 1e-3
    assert gates.choose_colour_limit(np.array([[0.1, np.nan], [0.0, -0.2]]), means) == pytest.approx(0.2)
    low, high = gates.choose_histogram_range(make_distribution("a", spread=1e-6).values)
    assert high - low > 1e-3
    assert gates.choose_histogram_range(np.array([0.1, 0.9])) == pytest.approx((0.1, 0.9))


def test_each_gate_has_its_own_panels_and_the_legend_covers_nothing(tmp_path, drawn):
    """Two gates at two sites: two pairs of panels, named once each; the legend stands above its panel."""
    distributions = [make_distribution(site, what) for site in "ab" for what in ("channel gate", "spatial gate")]
    draw_distributions(distributions, AttentionAnalysis([], distributions, CLASSES, 4), tmp_path / "a.png", "t")
    [figure] = drawn
    figure.draw_without_rendering()
    titles = [axes.get_title("left").partition(":")[0] for axes in figure.axes]
    assert [title for title in titles if "gate" in title] == ["channel gate", "spatial gate"]
    for axes in figure.axes[1::2]:
        assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b"]
        assert axes.get_legend().get_window_extent().y0 >= axes.get_window_extent().y1 - 1
        assert axes.get_legend().get_window_extent().x0 > axes._left_title.get_window_extent().x1
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.width > 1000


def test_channels_have_whole_numbers_and_the_legend_stands_above_both_curves():
    """The gates of one image may be lower than the mean over images, which the legend must not cover."""
    figure = Figure(figsize=(9, 3))
    axes = list(figure.subplots(1, 3))
    low = SiteView("a", "gate", "gate", np.full((3, 1, 1), 0.1, np.float32), channels=np.full(3, 0.1, np.float32))
    assert gates.draw_gate(axes, PanelInputs(low, None, (0.5, 0.5), make_distribution("a"), CLASSES)) == 3
    figure.draw_without_rendering()
    highest = axes[0].transData.transform((0, axes[0].lines[0].get_ydata().max()))[1]
    assert axes[0].get_legend().get_window_extent().y0 > highest
    for ax in (axes[0], axes[2]):
        assert all(tick == int(tick) for tick in ax.get_xticks())


def test_classes_that_cannot_be_told_apart_have_no_line(tmp_path, drawn):
    """With one image of each class the two other deviations are drawn alone."""
    values = np.linspace(0, 1, 4).reshape(2, 2).astype(np.float32)
    distribution = SiteDistribution("a", "gate", "gate", "gate", values, np.array([0, 1]))
    draw_distributions([distribution], AttentionAnalysis([], [distribution], CLASSES, 2), tmp_path / "a.png", "t")
    [figure] = drawn
    assert [line.get_label() for line in figure.axes[1].lines] == ["between units", "between images"]


def draw_panels(kind, values, spot=(0.5, 0.5), distribution=None, **parts):
    """Draw the panels of one view over an image of 8 x 16 pixels, and return those axes that were used."""
    view = SiteView("a", kind, "it", np.asarray(values, np.float32), **parts)
    image = ImageAnalysis(0, np.zeros((8, 16, 3), np.float32), "tench", "tench", 1.0, [view], None)
    axes = list(Figure(figsize=(9, 3)).subplots(1, 3))
    used_axes = image_sheet.PANEL_DRAWERS[kind](axes, PanelInputs(view, image, spot, distribution, CLASSES))
    return axes[:used_axes]


def test_weights_of_branches_are_bars_in_their_order_and_rows_by_class():
    """One image's weights, then the means of each class over many images."""
    values = np.array([[0.2, 0.8], [0.2, 0.8], [0.9, 0.1], [0.9, 0.1]], np.float32)
    distribution = SiteDistribution("a", "choice", "it", "weight", values, np.array([0, 0, 1, 1]))
    bars, by_class = draw_panels("choice", [0.3, 0.7], names=("3x3", "5x5"), distribution=distribution)
    assert [bar.get_height() for bar in bars.patches] == pytest.approx([0.3, 0.7])
    assert [label.get_text() for label in bars.get_xticklabels()] == ["3x3", "5x5"]
    np.testing.assert_allclose(by_class.images[0].get_array(), [[0.2, 0.8], [0.9, 0.1]])


def test_the_mean_of_a_weight_lies_within_its_panel():
    """Even weights of this image do not cut off the mark of a branch that other images prefer."""
    values = np.array([[0.1, 0.9], [0.2, 0.8]], np.float32)
    distribution = SiteDistribution("a", "choice", "it", "weight", values, np.array([0, 1]))
    bars, _ = draw_panels("choice", [0.5, 0.5], names=("3x3", "5x5"), distribution=distribution)
    (means,) = bars.lines
    assert bars.get_ylim()[1] > means.get_ydata().max()


def test_the_query_under_the_cross_is_the_one_that_is_drawn():
    """The place (0.9, 0.1) of a map of 2 x 2 places is the third query, behind one class token."""
    values = np.arange(20, dtype=np.float32).reshape(5, 4)
    own, mean, matrix = draw_panels("affinity", values, (0.9, 0.1), queries=(2, 2), keys=(2, 2))
    np.testing.assert_array_equal(own.images[1].get_array(), [[12, 13], [14, 15]])
    np.testing.assert_array_equal(mean.images[1].get_array(), values.mean(0).reshape(2, 2))
    np.testing.assert_array_equal(matrix.images[0].get_array(), values)


def test_offsets_are_arrows_in_pixels_of_the_image():
    """A map of 4 x 4 places over 8 x 16 pixels: one place down is 2 pixels, one to the right 4."""
    offsets = np.zeros((9, 2, 4, 4), np.float32)
    offsets[:, 0], offsets[:, 1] = 1.0, 2.0
    taps = np.stack(np.meshgrid([-1.0, 0, 1], [-1.0, 0, 1], indexing="ij"), -1).reshape(9, 2)
    arrows, at_cross, lengths = draw_panels("offsets", offsets, taps=taps)
    [quiver] = [drawn for drawn in arrows.collections if hasattr(drawn, "U")]
    assert set(quiver.V) == {2.0}
    assert set(quiver.U) == {8.0}
    regular, moved = (np.stack(line.get_data()).T for line in at_cross.lines[1:3])
    np.testing.assert_allclose(moved - regular, [[8.0, 2.0]] * 9)
    np.testing.assert_allclose(regular[4], (2.5 * 4 - 0.5, 2.5 * 2 - 0.5))  # the middle tap: the third place
    np.testing.assert_allclose(lengths.images[1].get_array(), 5**0.5)


def test_glimpses_stand_in_their_order_with_their_squares():
    """The first in the middle, the second at the lower right corner; each reads two squares."""
    path, squares = draw_panels("path", [[0, 0], [1, 1]], sides=(4, 8))
    assert [(text.get_text(), text.get_position()) for text in path.texts] == [("1", (7.5, 3.5)), ("2", (15.5, 7.5))]
    corners = [(box.get_xy(), box.get_width()) for box in squares.patches]
    assert corners == [((5.5, 1.5), 4), ((3.5, -0.5), 8), ((13.5, 5.5), 4), ((11.5, 3.5), 8)]


def test_a_warp_is_framed_where_it_reads_and_shown_as_the_network_gets_it():
    """A grid of the middle half of the image: a frame of half its sides."""
    grid = np.stack(np.meshgrid(np.linspace(-0.5, 0.5, 5), np.linspace(-0.5, 0.5, 5)), -1)
    output = np.full((8, 16, 3), 0.25, np.float32)
    frame, warped = draw_panels("warp", grid, output=output)
    x, y = frame.lines[0].get_data()
    assert (x.min(), x.max(), y.min(), y.max()) == (3.5, 11.5, 1.5, 5.5)
    np.testing.assert_array_equal(warped.images[0].get_array(), output)
    assert len(draw_panels("warp", grid)) == 1
