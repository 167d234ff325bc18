"""A figure of every site over many images."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes

from attncli.report.style import COLOURS, FAINT, INK, saved_figure

if TYPE_CHECKING:
    from attncli.interpret import AttentionAnalysis, SiteDistribution

WIDTH = 9.0  # inches, and wider for many sites


def draw_distributions(
    distributions: Sequence["SiteDistribution"], analysis: "AttentionAnalysis", path: Path, title: str
) -> None:
    """Draw for every site the values of its units over many images, and how much they depend on image and class."""
    measures = list(dict.fromkeys(distribution.measure for distribution in distributions))
    longest = max(sum(distribution.measure == m for distribution in distributions) for m in measures)
    with saved_figure(path, min(16.0, max(WIDTH, 3 + 0.42 * longest)), 5.2 * len(measures), title) as figure:
        axes = figure.subplots(2 * len(measures), 1, squeeze=False)[:, 0]
        for i, measure in enumerate(measures):
            same_measure = [distribution for distribution in distributions if distribution.measure == measure]
            _draw_value_ranges(axes[2 * i], same_measure, measure, analysis.sample)
            _draw_deviations(axes[2 * i + 1], same_measure)


def _draw_value_ranges(ax: Axes, distributions: Sequence["SiteDistribution"], measure: str, sample: int) -> None:
    """Draw the quartiles and 5 to 95 % of all units and images, by site."""
    for i, distribution in enumerate(distributions):
        low, first, middle, third, high = np.quantile(distribution.values, (0.05, 0.25, 0.5, 0.75, 0.95))
        ax.plot([i, i], [low, high], color=COLOURS[0], linewidth=1.2)
        ax.plot([i, i], [first, third], color=COLOURS[0], linewidth=6, alpha=0.5, solid_capstyle="butt")
        ax.plot([i], [middle], "o", color=INK, markersize=3.5)
    ax.set_title(f"{measure}: median, quartiles and 5 to 95 % of {sample} test images' units")
    _name_sites(ax, distributions, named=False)


def _draw_deviations(ax: Axes, distributions: Sequence["SiteDistribution"]) -> None:
    summaries = [distribution.to_json_dict() for distribution in distributions]
    for key, name, colour in (
        ("between_units", "between units", COLOURS[1]),
        ("between_images", "between images", COLOURS[0]),
        ("between_classes", "between classes", COLOURS[2]),
    ):
        ax.plot(
            range(len(summaries)), [summary[key] for summary in summaries], "o-", color=colour, markersize=4, label=name
        )
    ax.set_title("how much it differs: standard deviations")
    ax.set_ylim(bottom=0)
    ax.legend(frameon=False, fontsize=9, ncols=3, loc="best")
    _name_sites(ax, distributions, named=True)


def _name_sites(ax: Axes, distributions: Sequence["SiteDistribution"], named: bool) -> None:
    names = [
        distribution.site
        if sum(o.site == distribution.site for o in distributions) == 1
        else f"{distribution.site}, {distribution.what}"
        for distribution in distributions
    ]
    ax.set_xticks(range(len(names)), names if named else [""] * len(names), rotation=40, ha="right")
    ax.set_xlim(-0.6, len(names) - 0.4)
    ax.tick_params(labelsize=8, colors=INK if named else FAINT)
