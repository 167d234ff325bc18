"""A sheet for one image: the image, Grad-CAM, and what each site does to it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes

from attncli.report.attention_figures import gates, primitives, spatial
from attncli.report.style import saved_figure

if TYPE_CHECKING:
    from attncli.interpret import AttentionAnalysis, ImageAnalysis, SiteView
    from attncli.interpret.observations import Array

MAX_ROWS = 6  # sites that a sheet shows; attention.png shows them all
WIDTH, HEAD, ROW = 9.0, 2.5, 2.2  # inches
PANEL_DRAWERS: dict[str, Callable[..., int]] = {  # each draws into the first of three axes and returns how many it took
    "gate": gates.draw_gate,
    "choice": gates.draw_choice,
    "affinity": spatial.draw_affinity,
    "offsets": spatial.draw_offsets,
    "path": spatial.draw_glimpse_path,
    "warp": spatial.draw_warp,
}


def draw_image_sheet(image: "ImageAnalysis", analysis: "AttentionAnalysis", path: Path, title: str) -> None:
    """Draw the image and Grad-CAM in the first row, then one row for each of up to MAX_ROWS views."""
    views = pick_evenly(image.views, MAX_ROWS)
    distributions = {(distribution.site, distribution.what): distribution for distribution in analysis.distributions}
    with saved_figure(path, WIDTH, HEAD + ROW * len(views), title) as figure:
        grid = figure.add_gridspec(1 + len(views), 3, height_ratios=[HEAD, *[ROW] * len(views)])
        spot = find_focus(image)
        _draw_header([figure.add_subplot(grid[0, i]) for i in range(3)], image, spot)
        for row, view in enumerate(views, 1):
            axes = [figure.add_subplot(grid[row, i]) for i in range(3)]
            used_axes = PANEL_DRAWERS[view.kind](
                axes, view, image, spot, distributions.get((view.site, view.what)), analysis.classes
            )
            axes[0].set_title(f"{view.site}\n{view.what}", fontsize=9)
            for unused in axes[used_axes:]:
                unused.set_visible(False)


def pick_evenly(views: Sequence["SiteView"], most: int) -> list["SiteView"]:
    """Return up to `most` views at equal distances, the first and the last among them."""
    if len(views) <= most:
        return list(views)
    return [views[round(i * (len(views) - 1) / (most - 1))] for i in range(most)]


def find_focus(image: "ImageAnalysis") -> tuple[float, float]:
    """Return the place (y, x), from 0 to 1, whose affinities are shown: the maximum of Grad-CAM, else the middle."""
    if image.cam is None or not image.cam.any():
        return 0.5, 0.5
    y, x = np.unravel_index(int(image.cam.argmax()), image.cam.shape)
    return (float(y) + 0.5) / image.cam.shape[0], (float(x) + 0.5) / image.cam.shape[1]


def _draw_header(axes: Sequence[Axes], image: "ImageAnalysis", spot: tuple[float, float]) -> None:
    primitives.show_image(axes[0], image.pixels)
    axes[0].set_title(f"test image {image.index}: {image.truth}", fontsize=10)
    shown = image.pixels
    warped = next((v.output for v in image.views if v.output is not None), None)
    cam_panels = [
        ("with attention", image.cam, image.predicted, image.probability, shown if warped is None else warped)
    ]
    if not image.views:
        cam_panels = [("Grad-CAM", *cam_panels[0][1:])]
    if image.plain_predicted is not None and image.plain_probability is not None:
        cam_panels.insert(0, ("plain network", image.plain_cam, image.plain_predicted, image.plain_probability, shown))
    for ax, (name, cam, predicted, probability, background) in zip(axes[1:], cam_panels, strict=False):
        _draw_cam(ax, background, cam)
        ax.set_title(f"{name}: {predicted} {probability:.0%}", fontsize=10)
        ax.set_xlabel(f"Grad-CAM of {image.truth}" if cam is not None else "no map to take Grad-CAM of", fontsize=8)
    for ax in axes[1 + len(cam_panels) :]:
        ax.set_visible(False)
    if any(v.kind in ("affinity", "offsets") for v in image.views):
        primitives.mark_spot(axes[0], image.pixels.shape, spot)


def _draw_cam(ax: Axes, pixels: "Array", cam: "Array | None") -> None:
    primitives.show_image(ax, pixels)
    if cam is not None:
        primitives.overlay_map(ax, cam, pixels.shape, highest=1.0)
