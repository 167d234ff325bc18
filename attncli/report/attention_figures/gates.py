"""Panels of gates, and of the weights of branches, kernels or experts."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from attncli.palette import COLOURS, INK
from attncli.report.attention_figures.primitives import (
    MAX_CLASSES,
    PanelInputs,
    add_colorbar,
    draw_map_over_image,
    hide_axes,
    label_class_rows,
)

if TYPE_CHECKING:
    from attncli.interpret import SiteDistribution, SiteView
    from attncli.interpret.observations import Array

SMALL_SHARE = 0.01  # of a gate's size: smaller differences are drawn small


def draw_gate(axes: list[Axes], inputs: PanelInputs) -> int:
    """Draw channels as sorted bars and as a histogram by class, places as a map over the image.

    Returns how many of the axes were used.
    """
    view, used_axes = inputs.view, 0
    if view.channels is not None and view.channels.size > 1:
        used_axes = _draw_channels(axes, view.channels, inputs)
    if view.places is not None:
        note = "mean over channels" if view.channels is not None else ""
        draw_map_over_image(axes[used_axes], view.places, inputs.image, note)
        used_axes += 1
    if used_axes:
        return used_axes
    axes[0].text(0.5, 0.5, f"everywhere {view.values.mean():.3f}", ha="center", va="center", fontsize=11)
    hide_axes(axes[0])
    return 1


def _draw_channels(axes: list[Axes], channels: "Array", inputs: PanelInputs) -> int:
    """Draw the gate of each channel (C,), and by class if many images are known; return how many axes were used."""
    distribution = inputs.distribution
    if distribution is None or distribution.values.shape[1] != channels.size:
        _draw_sorted_channels(axes[0], channels, None)
        return 1
    _draw_sorted_channels(axes[0], channels, distribution.values.mean(0))
    _draw_class_histogram(axes[1], distribution, inputs.classes)
    if inputs.view.places is not None:  # the third of the axes is for these
        return 2
    _draw_class_differences(axes[2], distribution, inputs.classes)
    return 3


def is_one_number(view: "SiteView") -> bool:
    """Return whether a view is a gate that is the same everywhere."""
    return view.kind == "gate" and view.places is None and (view.channels is None or view.channels.size == 1)


def _draw_sorted_channels(ax: Axes, values: "Array", mean_values: "Array | None") -> None:
    order = np.argsort(values if mean_values is None else mean_values)[::-1]
    ax.bar(range(len(values)), values[order], width=1.0, color=COLOURS[4], label="this image")
    if mean_values is not None:
        ax.plot(range(len(values)), mean_values[order], color=INK, linewidth=1.3, label="mean over images")
        ax.legend(frameon=False, fontsize=7.5, loc="upper right")
    ax.set_xlabel(f"{len(values)} channels, sorted", fontsize=8)
    highest = max(float(drawn.max()) for drawn in (values, mean_values) if drawn is not None)
    ax.set_ylim(min(0.0, float(values.min())), 1.4 * max(1e-3, highest))  # the legend stands above the curves
    ax.set_xlim(-0.5, len(values) - 0.5)
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    ax.tick_params(labelsize=8)


def _draw_class_histogram(ax: Axes, distribution: "SiteDistribution", classes: Sequence[str]) -> None:
    """Draw one histogram per class (row): how often the gates of its images have which value."""
    values = distribution.values
    edges = np.linspace(*choose_histogram_range(values), 25)
    rows = [np.histogram(values[distribution.labels == c], edges)[0] for c in range(len(classes))][:MAX_CLASSES]
    shares = np.array([row / max(row.max(), 1) for row in rows])
    ax.imshow(shares, cmap="Blues", aspect="auto", extent=(edges[0], edges[-1], len(rows) - 0.5, -0.5))
    label_class_rows(ax, classes)
    ax.xaxis.set_major_locator(MaxNLocator(3))
    ax.set_title("histogram of the gate, by class", fontsize=8.5)


def choose_histogram_range(values: "Array") -> tuple[float, float]:
    """Return the ends of a histogram's axis: those of the values, and wider if the values are all but equal."""
    low, high = float(values.min()), float(values.max())
    lacking = max(0.0, SMALL_SHARE * max(abs(low), abs(high), 1e-6) - (high - low))
    return low - lacking / 2, high + lacking / 2 + 1e-9


def _draw_class_differences(ax: Axes, distribution: "SiteDistribution", classes: Sequence[str]) -> None:
    """Draw which channels (columns, ordered as the bars) are more or less open for a class (row) than on average."""
    means = distribution.average_by_class(len(classes))[:MAX_CLASSES]
    mean_values = distribution.values.mean(0)
    order = np.argsort(mean_values)[::-1]
    deviations = (means - mean_values)[:, order]
    limit = choose_colour_limit(deviations, mean_values)
    drawn = ax.imshow(deviations, cmap="RdBu_r", aspect="auto", vmin=-limit, vmax=limit, interpolation="nearest")
    label_class_rows(ax, classes)
    ax.set_title("class's mean less the mean of all", fontsize=8.5)
    ax.set_xlabel("channels in the order of the bars", fontsize=8)
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    add_colorbar(ax, drawn)


def choose_colour_limit(deviations: "Array", mean_values: "Array") -> float:
    """Return the deviation that gets the full colour: the largest, or more, so that noise of rounding stays pale."""
    least_limit = SMALL_SHARE * max(float(np.abs(mean_values).mean()), 1e-6)
    return max(float(np.nanmax(np.abs(deviations))), least_limit)


def draw_choice(axes: list[Axes], inputs: PanelInputs) -> int:
    """Draw the weights as bars with the mean over images, then by class, then as a histogram over channels.

    Returns how many of the axes were used.
    """
    view, distribution, classes = inputs.view, inputs.distribution, inputs.classes
    names = view.names or tuple(str(i + 1) for i in range(len(view.values)))
    _draw_weights(axes[0], view, distribution, names)
    used_axes = 1
    if distribution is not None:
        _draw_class_weights(axes[1], distribution.average_by_class(len(classes)), classes, names)
        used_axes = 2
    if view.channels is not None:
        for i, weights in enumerate(view.channels):
            axes[used_axes].hist(
                weights, bins=12, range=(0, 1), histtype="step", color=COLOURS[i % len(COLOURS)], label=names[i]
            )
        axes[used_axes].set_title("channels by weight", fontsize=8.5)
        axes[used_axes].legend(frameon=False, fontsize=7)
        axes[used_axes].tick_params(labelsize=8)
        used_axes += 1
    return used_axes


def _draw_weights(ax: Axes, view: "SiteView", distribution: "SiteDistribution | None", names: Sequence[str]) -> None:
    """Draw the weights of one image as bars, with the mean over images if many are known."""
    highest = float(view.values.max())
    ax.bar(range(len(names)), view.values, color=COLOURS[4], width=0.7, label="this image")
    if distribution is not None:
        means = distribution.values.mean(0)
        highest = max(highest, float(means.max()))
        ax.plot(range(len(names)), means, "_", color=INK, markersize=18, label="mean over images")
        ax.legend(frameon=False, fontsize=7.5, loc="upper right", ncols=2)
    ax.set_xticks(range(len(names)), names, fontsize=8)
    ax.set_ylim(0, 1.4 * max(highest, 1e-3))


def _draw_class_weights(ax: Axes, means: "Array", classes: Sequence[str], names: Sequence[str]) -> None:
    """Draw the mean weights by class (rows)."""
    rows = means[:MAX_CLASSES]
    drawn = ax.imshow(rows, cmap="Blues", aspect="auto", vmin=0, vmax=max(float(np.nanmax(rows)), 1e-3))
    label_class_rows(ax, classes)
    ax.set_xticks(range(len(names)), names)
    ax.set_title("mean over each class", fontsize=8.5)
    add_colorbar(ax, drawn)
