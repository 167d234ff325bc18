"""Panels of the places a mechanism attends to: affinities, offsets, glimpses, warps."""

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from attncli.palette import COLOURS, INK
from attncli.report.attention_figures.primitives import (
    HEAT,
    MARK,
    ImageSpot,
    PanelInputs,
    add_colorbar,
    draw_map_over_image,
    hide_axes,
    mark_spot,
    show_image,
)

if TYPE_CHECKING:
    from attncli.interpret import ImageAnalysis, SiteView
    from attncli.interpret.observations import Array

AROUND = 0.25  # of the image's side that is shown around it where a warp leaves it


def draw_affinity(axes: list[Axes], inputs: PanelInputs) -> int:
    """Draw what the chosen place attends to, the mean over all queries, and the full matrix.

    Returns how many of the axes were used.
    """
    view, image = inputs.view, inputs.image
    used_axes = 0
    row = find_query_row(view, inputs.spot)
    if row is not None:
        axes[0].set_xlabel("what the cross takes from", fontsize=8)
        _draw_attended(axes[0], view, view.values[row], image)
        mark_spot(axes[0], image.pixels.shape, inputs.spot) if view.keys else None
        used_axes = 1
    if view.keys:
        _draw_attended(axes[used_axes], view, view.values.mean(0), image)
        axes[used_axes].set_title("mean over all queries", fontsize=8.5)
        used_axes += 1
    elif view.queries:
        units = view.values[len(view.values) - view.queries[0] * view.queries[1] :]
        unit = int(units.var(0).argmax())
        draw_map_over_image(
            axes[used_axes], units[:, unit].reshape(view.queries), image, f"who takes unit {unit}, the most selective"
        )
        used_axes += 1
    matrix = axes[used_axes].imshow(view.values, cmap=HEAT, aspect="auto", interpolation="nearest")
    hide_axes(axes[used_axes])
    axes[used_axes].set_ylabel(f"{view.values.shape[0]} queries", fontsize=8)
    axes[used_axes].set_xlabel(f"{view.values.shape[1]} keys", fontsize=8)
    add_colorbar(axes[used_axes], matrix)
    return used_axes + 1


def find_query_row(view: "SiteView", spot: ImageSpot) -> int | None:
    """Return the row of the query at a place of the image, or None if queries are no places."""
    if view.queries is None:
        return None
    h, w = view.queries
    leading = view.values.shape[0] - h * w  # class tokens
    return leading + min(int(spot[0] * h), h - 1) * w + min(int(spot[1] * w), w - 1)


def _draw_attended(ax: Axes, view: "SiteView", row: "Array", image: "ImageAnalysis") -> None:
    if view.keys is None:
        ax.bar(range(len(row)), np.sort(row)[::-1], width=1.0, color=COLOURS[4])
        ax.set_xlabel(f"{len(row)} units, sorted: what the cross takes", fontsize=8)
        ax.tick_params(labelsize=8)
        return
    note = ax.get_xlabel()
    draw_map_over_image(ax, row[len(row) - view.keys[0] * view.keys[1] :].reshape(view.keys), image, note)


def draw_offsets(axes: list[Axes], inputs: PanelInputs) -> int:
    """Draw the mean offset of each place as an arrow, the taps of one place, and the lengths of the offsets.

    Returns how many of the axes were used.
    """
    view, image = inputs.view, inputs.image
    h, w = view.values.shape[2:]
    height, width = image.pixels.shape[:2]
    across, down = width / w, height / h
    show_image(axes[0], image.pixels)
    y, x = np.mgrid[0:h, 0:w]
    mean = view.values.mean(0)
    step = max(1, -(-max(h, w) // 16))
    strided_cells = (slice(None, None, step),) * 2
    axes[0].quiver(
        ((x + 0.5) * across - 0.5)[strided_cells],
        ((y + 0.5) * down - 0.5)[strided_cells],
        mean[1][strided_cells] * across,
        mean[0][strided_cells] * down,
        angles="xy", scale_units="xy", scale=1, color=MARK, width=0.008,
    )  # fmt: skip
    axes[0].set_xlabel("mean over taps", fontsize=8)
    show_image(axes[1], image.pixels)
    mark_spot(axes[1], image.pixels.shape, inputs.spot)
    if view.taps is not None:
        at = min(int(inputs.spot[0] * h), h - 1), min(int(inputs.spot[1] * w), w - 1)
        regular = view.taps[:, ::-1] * (across, down) + ((at[1] + 0.5) * across - 0.5, (at[0] + 0.5) * down - 0.5)
        moved = regular + view.values[:, ::-1, at[0], at[1]] * (across, down)
        axes[1].plot(*regular.T, "o", color="white", markersize=3.5, markeredgecolor=INK, markeredgewidth=0.5)
        axes[1].plot(*moved.T, "o", color=COLOURS[1], markersize=3.5)
        axes[1].plot(*np.stack([regular, moved]).transpose(2, 0, 1), color=COLOURS[1], linewidth=1)
        axes[1].set_xlabel("taps at the cross: regular, moved", fontsize=8)
        axes[1].set_xlim(-0.5, width - 0.5)
        axes[1].set_ylim(height - 0.5, -0.5)
    draw_map_over_image(axes[2], np.sqrt((view.values**2).sum(1)).mean(0), image, "mean length, px of the map")
    return 3


def draw_glimpse_path(axes: list[Axes], inputs: PanelInputs) -> int:
    """Draw the glimpses in their order, with the squares that were read there. Return how many axes were used."""
    view, image = inputs.view, inputs.image
    height, width = image.pixels.shape[:2]
    x, y = (view.values[:, 0] + 1) / 2 * width - 0.5, (view.values[:, 1] + 1) / 2 * height - 0.5
    show_image(axes[0], image.pixels)
    axes[0].plot(x, y, "-", color=MARK, linewidth=1.2)
    for i, (a, b) in enumerate(zip(x, y, strict=True), 1):
        axes[0].text(a, b, str(i), color=MARK, fontsize=10, fontweight="bold", ha="center", va="center")
    show_image(axes[1], image.pixels)
    for i, (a, b) in enumerate(zip(x, y, strict=True)):
        for side in view.sides:
            box = Rectangle((a - side / 2, b - side / 2), side, side, fill=False, color=COLOURS[i % len(COLOURS)])
            axes[1].add_patch(box)
    axes[1].set_xlim(-0.5, width - 0.5)
    axes[1].set_ylim(height - 0.5, -0.5)
    axes[1].set_xlabel("squares seen at each", fontsize=8)
    return 2


def draw_warp(axes: list[Axes], inputs: PanelInputs) -> int:
    """Draw the part of the image that is read, and what the network gets. Return how many axes were used."""
    view, image = inputs.view, inputs.image
    height, width = image.pixels.shape[:2]
    edge = np.concatenate([view.values[0], view.values[:, -1], view.values[-1, ::-1], view.values[::-1, 0]])
    show_image(axes[0], image.pixels)
    axes[0].plot((edge[:, 0] + 1) / 2 * width - 0.5, (edge[:, 1] + 1) / 2 * height - 0.5, color=MARK, linewidth=1.6)
    axes[0].set_xlim(-AROUND * width, (1 + AROUND) * width)
    axes[0].set_ylim((1 + AROUND) * height, -AROUND * height)
    if view.output is None:
        return 1
    show_image(axes[1], view.output)
    axes[1].set_xlabel("what the network gets", fontsize=8)
    return 2
