"""Panels of gates, and of weights that branches, kernels or experts get."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from attncli.report.figure import COLOURS, INK
from attncli.report.look.canvas import CLASSES, Spot, bare, class_names, over_image, scale

if TYPE_CHECKING:
    from attncli.sight import Image, Spread, View
    from attncli.sight.view import Array


def gate(
    axes: list[Axes], view: "View", image: "Image", spot: Spot, spread: "Spread | None", classes: Sequence[str]
) -> int:
    """Channels as sorted bars with the mean over images, as a histogram by class; places over the image."""
    used = 0
    if view.channels is not None and view.channels.size > 1:
        both = spread is not None and spread.values.shape[1] == view.channels.size
        _sorted(axes[0], view.channels, spread.values.mean(0) if both and spread else None)
        used = 1
        if both and spread is not None:
            _by_class(axes[1], spread, classes)
            used = 2
            if view.places is None:
                _channels_of_classes(axes[2], spread, classes)
                used = 3
    if view.places is not None:
        over_image(axes[used], view.places, image, "mean over channels" if view.channels is not None else "")
        used += 1
    if not used:
        axes[0].text(0.5, 0.5, f"everywhere {view.values.mean():.3f}", ha="center", va="center", fontsize=11)
        bare(axes[0])
        used = 1
    return used


def _sorted(ax: Axes, values: "Array", usual: "Array | None") -> None:
    order = np.argsort(values if usual is None else usual)[::-1]
    ax.bar(range(len(values)), values[order], width=1.0, color=COLOURS[4], label="this image")
    if usual is not None:
        ax.plot(range(len(values)), usual[order], color=INK, linewidth=1.3, label="mean over images")
        ax.legend(frameon=False, fontsize=7.5, loc="upper right")
    ax.set_xlabel(f"{len(values)} channels, sorted", fontsize=8)
    ax.set_ylim(min(0.0, float(values.min())), 1.4 * max(1e-3, float(values.max())))
    ax.set_xlim(-0.5, len(values) - 0.5)
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    ax.tick_params(labelsize=8)


def _by_class(ax: Axes, spread: "Spread", classes: Sequence[str]) -> None:
    """A histogram a class (row): how often its images' gates have which value."""
    values = spread.values
    edges = np.linspace(float(values.min()), float(values.max()) + 1e-6, 25)
    rows = [np.histogram(values[spread.labels == c], edges)[0] for c in range(len(classes))][:CLASSES]
    shares = np.array([row / max(row.max(), 1) for row in rows])
    ax.imshow(shares, cmap="Blues", aspect="auto", extent=(edges[0], edges[-1], len(rows) - 0.5, -0.5))
    class_names(ax, classes)
    ax.set_title("histogram of the gate, by class", fontsize=8.5)


def _channels_of_classes(ax: Axes, spread: "Spread", classes: Sequence[str]) -> None:
    """Which channels (columns, in the order of the bars) open more or less for a class (row) than usual."""
    means = spread.by_class(len(classes))[:CLASSES]
    usual = spread.values.mean(0)
    order = np.argsort(usual)[::-1]
    apart = (means - usual)[:, order]
    limit = max(float(np.nanmax(np.abs(apart))), 1e-6)
    drawn = ax.imshow(apart, cmap="RdBu_r", aspect="auto", vmin=-limit, vmax=limit, interpolation="nearest")
    class_names(ax, classes)
    ax.set_title("class's mean less the mean of all", fontsize=8.5)
    ax.set_xlabel("channels in the order of the bars", fontsize=8)
    scale(ax, drawn)


def choice(
    axes: list[Axes], view: "View", image: "Image", spot: Spot, spread: "Spread | None", classes: Sequence[str]
) -> int:
    """The weights as bars with the mean over images; by class; where channels choose, how many by how much."""
    names = view.names or tuple(str(i + 1) for i in range(len(view.values)))
    axes[0].bar(range(len(names)), view.values, color=COLOURS[4], width=0.7, label="this image")
    if spread is not None:
        axes[0].plot(range(len(names)), spread.values.mean(0), "_", color=INK, markersize=18, label="mean over images")
        axes[0].legend(frameon=False, fontsize=7.5, loc="upper right", ncols=2)
    axes[0].set_xticks(range(len(names)), names, fontsize=8)
    axes[0].set_ylim(0, 1.4 * max(float(view.values.max()), 1e-3))
    used = 1
    if spread is not None:
        _table(axes[1], spread.by_class(len(classes)), classes, names)
        used = 2
    if view.channels is not None:
        for i, weights in enumerate(view.channels):
            axes[used].hist(
                weights, bins=12, range=(0, 1), histtype="step", color=COLOURS[i % len(COLOURS)], label=names[i]
            )
        axes[used].set_title("channels by weight", fontsize=8.5)
        axes[used].legend(frameon=False, fontsize=7)
        axes[used].tick_params(labelsize=8)
        used += 1
    return used


def _table(ax: Axes, means: "Array", classes: Sequence[str], names: Sequence[str]) -> None:
    """Weights by class (rows)."""
    rows = means[:CLASSES]
    drawn = ax.imshow(rows, cmap="Blues", aspect="auto", vmin=0, vmax=max(float(np.nanmax(rows)), 1e-3))
    class_names(ax, classes)
    ax.set_xticks(range(len(names)), names)
    ax.set_title("mean over each class", fontsize=8.5)
    scale(ax, drawn)
