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

MAX_ROWS = 6  # of a sheet, one for each view of a site; attention.png shows all sites
WIDTH, HEAD, ROW, LOW_ROW = 9.0, 2.8, 2.2, 0.7  # inches
# each draws into the first of three axes and returns how many it took
PANEL_DRAWERS: dict[str, Callable[[list[Axes], primitives.PanelInputs], int]] = {
    "gate": gates.draw_gate,
    "choice": gates.draw_choice,
    "affinity": spatial.draw_affinity,
    "offsets": spatial.draw_offsets,
    "path": spatial.draw_glimpse_path,
    "warp": spatial.draw_warp,
}


def draw_image_sheet(image: "ImageAnalysis", analysis: "AttentionAnalysis", path: Path, title: str) -> None:
    """Draw the image and Grad-CAM in the first row, then one row for each view of some sites, at most MAX_ROWS.

    A note says how many sites were left out.
    """
    views, note = choose_views(image.views)
    distributions = {(distribution.site, distribution.what): distribution for distribution in analysis.distributions}
    heights = [LOW_ROW if gates.is_one_number(view) else ROW for view in views]
    with saved_figure(path, WIDTH, HEAD + sum(heights), title) as figure:
        grid = figure.add_gridspec(1 + len(views), 3, height_ratios=[HEAD, *heights])
        spot = find_focus(image)
        _draw_header([figure.add_subplot(grid[0, i]) for i in range(3)], image, spot)
        for row, view in enumerate(views, 1):
            axes = [figure.add_subplot(grid[row, i]) for i in range(3)]
            distribution = distributions.get((view.site, view.what))
            inputs = primitives.PanelInputs(view, image, spot, distribution, analysis.classes)
            used_axes = PANEL_DRAWERS[view.kind](axes, inputs)
            axes[0].set_title(f"{view.site}\n{view.what}", fontsize=9)
            for unused in axes[used_axes:]:
                unused.set_visible(False)
        if note:
            figure.supxlabel(note, x=0.01, ha="left", fontsize=9)


def choose_views(views: Sequence["SiteView"]) -> tuple[list["SiteView"], str]:
    """Return all views of some sites, at most MAX_ROWS, and how many sites they are of ("" if all)."""
    sites = list(dict.fromkeys(view.site for view in views))
    shown_sites = pick_evenly(sites, max(1, MAX_ROWS * len(sites) // max(1, len(views))))
    is_whole = len(shown_sites) == len(sites)
    note = "" if is_whole else f"{len(shown_sites)} of {len(sites)} sites are shown; attention.png has all of them"
    return [view for view in views if view.site in shown_sites], note


def pick_evenly(sites: Sequence[str], most: int) -> list[str]:
    """Return up to `most` sites at equal distances, the first and the last among them, or the last if it is one."""
    if len(sites) <= most:
        return list(sites)
    if most == 1:
        return [sites[-1]]
    return [sites[round(i * (len(sites) - 1) / (most - 1))] for i in range(most)]


def find_focus(image: "ImageAnalysis") -> primitives.ImageSpot:
    """Return the place (y, x), from 0 to 1, whose affinities are shown: the maximum of Grad-CAM, else the middle."""
    if image.cam is None or not image.cam.any():
        return 0.5, 0.5
    y, x = np.unravel_index(int(image.cam.argmax()), image.cam.shape)
    return (float(y) + 0.5) / image.cam.shape[0], (float(x) + 0.5) / image.cam.shape[1]


def _draw_header(axes: Sequence[Axes], image: "ImageAnalysis", spot: primitives.ImageSpot) -> None:
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
        ax.set_title(f"{name}: {predicted} ({probability:.0%})", fontsize=10)
        ax.set_xlabel(describe_cam(cam, image.truth), fontsize=8)
    for ax in axes[1 + len(cam_panels) :]:
        ax.set_visible(False)
    if any(v.kind in ("affinity", "offsets") for v in image.views):
        primitives.mark_spot(axes[0], image.pixels.shape, spot)


def describe_cam(cam: "Array | None", truth: str) -> str:
    """Return what a map of Grad-CAM shows: of which class, on how many places, or why there is none."""
    if cam is None:
        return "no map to take Grad-CAM of"
    places = f"{cam.shape[0]} x {cam.shape[1]} places"
    return f"Grad-CAM of {truth}\n{places}" + ("; bright: speaks for it" if cam.any() else ": none speaks for it")


def _draw_cam(ax: Axes, pixels: "Array", cam: "Array | None") -> None:
    primitives.show_image(ax, pixels)
    if cam is not None:
        primitives.overlay_map(ax, cam, pixels.shape, highest=1.0)
