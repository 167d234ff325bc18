"""Every site over many images, in one picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes

from attncli.report.figure import COLOURS, FAINT, INK, figure

if TYPE_CHECKING:
    from attncli.sight import Spread, Study

WIDTH = 9.0  # inches, and wider for many sites


def spread(spreads: Sequence["Spread"], study: "Study", path: Path, title: str) -> None:
    """Every site over many images: what its units do, and how much of that depends on the image and its class."""
    measures = list(dict.fromkeys(s.measure for s in spreads))
    longest = max(sum(s.measure == m for s in spreads) for m in measures)
    with figure(path, min(16.0, max(WIDTH, 3 + 0.42 * longest)), 5.2 * len(measures), title) as made:
        axes = made.subplots(2 * len(measures), 1, squeeze=False)[:, 0]
        for i, measure in enumerate(measures):
            part = [s for s in spreads if s.measure == measure]
            _boxes(axes[2 * i], part, measure, study.sample)
            _differences(axes[2 * i + 1], part)


def _boxes(ax: Axes, spreads: Sequence["Spread"], measure: str, sample: int) -> None:
    """Quartiles and 5 to 95 % of all units and images, by site."""
    for i, s in enumerate(spreads):
        low, first, middle, third, high = np.quantile(s.values, (0.05, 0.25, 0.5, 0.75, 0.95))
        ax.plot([i, i], [low, high], color=COLOURS[0], linewidth=1.2)
        ax.plot([i, i], [first, third], color=COLOURS[0], linewidth=6, alpha=0.5, solid_capstyle="butt")
        ax.plot([i], [middle], "o", color=INK, markersize=3.5)
    ax.set_title(f"{measure}: median, quartiles and 5 to 95 % of {sample} test images' units")
    _sites(ax, spreads, named=False)


def _differences(ax: Axes, spreads: Sequence["Spread"]) -> None:
    told = [s.told() for s in spreads]
    for key, name, colour in (
        ("between_units", "between units", COLOURS[1]),
        ("between_images", "between images", COLOURS[0]),
        ("between_classes", "between classes", COLOURS[2]),
    ):
        ax.plot(range(len(told)), [t[key] for t in told], "o-", color=colour, markersize=4, label=name)
    ax.set_title("how much it differs: standard deviations")
    ax.set_ylim(bottom=0)
    ax.legend(frameon=False, fontsize=9, ncols=3, loc="best")
    _sites(ax, spreads, named=True)


def _sites(ax: Axes, spreads: Sequence["Spread"], named: bool) -> None:
    names = [s.site if sum(o.site == s.site for o in spreads) == 1 else f"{s.site}, {s.what}" for s in spreads]
    ax.set_xticks(range(len(names)), names if named else [""] * len(names), rotation=40, ha="right")
    ax.set_xlim(-0.6, len(names) - 0.4)
    ax.tick_params(labelsize=8, colors=INK if named else FAINT)
