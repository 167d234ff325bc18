"""Parts of every panel: what it is drawn from, images, maps over them, marks, colour scales."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes

from attncli.report.evaluation_pictures import shorten_class_name

if TYPE_CHECKING:
    from attncli.interpret import ImageAnalysis, SiteDistribution, SiteView
    from attncli.interpret.observations import Array

ImageSpot = tuple[float, float]  # (y, x) from 0 to 1
HEAT, MARK = "inferno", "#00e5ff"
MAX_CLASSES = 10  # shown of those there are


@dataclass(frozen=True)
class PanelInputs:
    """What the panels of one view of a site are drawn from."""

    view: "SiteView"
    image: "ImageAnalysis"
    spot: ImageSpot  # the place whose affinities and taps are shown
    distribution: "SiteDistribution | None"  # of the same quantity over many images
    classes: Sequence[str]


def show_image(ax: Axes, pixels: "Array") -> None:
    """Draw an image (H, W, 3) with values from 0 to 1, without axes."""
    ax.imshow(pixels, interpolation="nearest")
    hide_axes(ax)


def hide_axes(ax: Axes) -> None:
    """Remove grid, ticks and frame."""
    ax.grid(visible=False)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)


def overlay_map(ax: Axes, values: "Array", size: Sequence[int], highest: float | None = None) -> Any:
    """Draw a map (h, w) over an image of (H, W), each value over its part of the image.

    The colours go from the smallest value to the largest, or from 0 to `highest` if that is given.
    """
    least = None if highest is None else 0.0
    extent = (-0.5, size[1] - 0.5, size[0] - 0.5, -0.5)
    return ax.imshow(values, cmap=HEAT, alpha=0.62, extent=extent, interpolation="nearest", vmin=least, vmax=highest)


def mark_spot(ax: Axes, size: Sequence[int], spot: ImageSpot) -> None:
    """Draw a cross at the chosen place."""
    ax.plot([spot[1] * size[1] - 0.5], [spot[0] * size[0] - 0.5], "+", color=MARK, markersize=11, markeredgewidth=2)


def draw_map_over_image(ax: Axes, values: "Array", image: "ImageAnalysis", note: str) -> None:
    """Draw a map (h, w) over the image, with its colour scale and a note below."""
    show_image(ax, image.pixels)
    drawn = overlay_map(ax, values, image.pixels.shape)
    add_colorbar(ax, drawn)
    ax.set_xlabel(note, fontsize=8)


def add_colorbar(ax: Axes, drawn: Any) -> None:
    """Draw the colour scale."""
    bar = ax.figure.colorbar(drawn, ax=ax, shrink=0.8, aspect=18, pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=7, length=2)


def label_class_rows(ax: Axes, classes: Sequence[str]) -> None:
    """Label the rows with the classes."""
    shown = classes[:MAX_CLASSES]
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    ax.set_yticks(range(len(shown)), [shorten_class_name(name) for name in shown])
    if len(shown) < len(classes):
        ax.set_ylabel(f"the first {len(shown)} of {len(classes)} classes", fontsize=7)
    ax.tick_params(labelsize=7, length=0)
