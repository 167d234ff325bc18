"""A figure of every site over many images."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes

from attncli.palette import COLOURS, INK
from attncli.quantities import format_quantity
from attncli.report.style import saved_figure

if TYPE_CHECKING:
    from attncli.interpret import AttentionAnalysis, SiteDistribution

WIDTH = 9.0  # inches, and wider for many sites


def draw_distributions(
    distributions: Sequence["SiteDistribution"], analysis: "AttentionAnalysis", path: Path, title: str
) -> None:
    """Draw for every site the values of its units over many images, and how much they depend on image and class.

    Each gate of a mechanism, and each other thing that is observed, has a pair of panels.
    """
    names = list(dict.fromkeys(map(name_quantity, distributions)))
    groups = [[distribution for distribution in distributions if name_quantity(distribution) == n] for n in names]
    longest = max(map(len, groups))
    with saved_figure(path, min(16.0, max(WIDTH, 3 + 0.42 * longest)), 5.2 * len(names), title) as figure:
        axes = figure.subplots(2 * len(names), 1, squeeze=False)[:, 0]
        for i, (name, group) in enumerate(zip(names, groups, strict=True)):
            _draw_value_ranges(axes[2 * i], group, name, analysis.sample)
            _draw_deviations(axes[2 * i + 1], group)


def name_quantity(distribution: "SiteDistribution") -> str:
    """Return what is observed and, if the words do not say it, which number of it is shown."""
    is_said = distribution.measure in distribution.what or distribution.kind in ("gate", "choice")
    return distribution.what if is_said else f"{distribution.what}: {distribution.measure}"


def _draw_value_ranges(ax: Axes, distributions: Sequence["SiteDistribution"], name: str, sample: int) -> None:
    """Draw the quartiles and 5 to 95 % of all units and images, by site."""
    for i, distribution in enumerate(distributions):
        low, first, middle, third, high = np.quantile(distribution.values, (0.05, 0.25, 0.5, 0.75, 0.95))
        ax.plot([i, i], [low, high], color=COLOURS[0], linewidth=1.2)
        ax.plot([i, i], [first, third], color=COLOURS[0], linewidth=6, alpha=0.5, solid_capstyle="butt")
        ax.plot([i], [middle], "o", color=INK, markersize=3.5)
    ax.set_title(f"{name}: median, quartiles and 5 to 95 % over {format_quantity(sample, 'test image')} and all units")
    _name_sites(ax, distributions, named=False)


def _draw_deviations(ax: Axes, distributions: Sequence["SiteDistribution"]) -> None:
    """Draw the standard deviations between units, images and classes by site; classes only if they can be told."""
    summaries = [distribution.to_json_dict() for distribution in distributions]
    for key, name, colour in (
        ("between_units", "between units", COLOURS[1]),
        ("between_images", "between images", COLOURS[0]),
        ("between_classes", "between classes", COLOURS[2]),
    ):
        if all(summary[key] is not None for summary in summaries):
            deviations = [summary[key] for summary in summaries]
            ax.plot(range(len(summaries)), deviations, "o-", color=colour, markersize=4, label=name)
    ax.set_title("how much it differs: standard deviations")
    ax.set_ylim(bottom=0)
    ax.legend(frameon=False, fontsize=9, ncols=3, loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.1)
    _name_sites(ax, distributions, named=True)


def _name_sites(ax: Axes, distributions: Sequence["SiteDistribution"], named: bool) -> None:
    names = [distribution.site for distribution in distributions]
    ax.set_xticks(range(len(names)), names if named else [""] * len(names), rotation=40, ha="right")
    ax.set_xlim(-0.6, len(names) - 0.4)
    ax.tick_params(labelsize=8)
