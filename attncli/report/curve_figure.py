"""The learning curves of the variants of a table, for the HTML page."""

import statistics
from collections.abc import Mapping, Sequence

from matplotlib.ticker import MaxNLocator

from attncli.analysis.comparison_row import ComparisonRow
from attncli.records import Epoch
from attncli.report import layout
from attncli.report.inline_svg import add_tooltip, render_inline_svg
from attncli.report.style import styled_figure
from attncli.report.variant_style import choose_colours, choose_named_variants, shorten_variant

WIDTH, HEIGHT = 5.2, 3.2  # inches of a figure on the page; its text is scaled with it
RunEpochs = Mapping[str, Sequence[Sequence[Epoch]]]  # the epochs of each run by variant


def draw_learning_curves(rows: Sequence[ComparisonRow], epochs: RunEpochs) -> str:
    """Draw validation accuracy by epoch: each variant's mean over seeds, and a band from the worst to the best seed.

    Of many variants only some are named (`choose_named_variants`).
    Returns the figure as SVG, "" if no variant has two validated epochs: a point is no curve.
    """
    bands = {row.variant: _compute_epoch_band(epochs.get(row.variant, ())) for row in rows}
    bands = {variant: band for variant, band in bands.items() if band}
    if max(map(len, bands.values()), default=0) < 2:
        return ""
    colours, named_variants = choose_colours(rows), choose_named_variants(rows)
    with styled_figure(WIDTH, HEIGHT, is_placed=True) as figure:
        axes = figure.add_axes((0, 0, 1, 1))
        spots = []
        for variant, band in bands.items():
            x, means, lows, highs = zip(*band, strict=True)
            axes.fill_between(x, lows, highs, color=colours[variant], alpha=0.16, linewidth=0)
            (line,) = axes.plot(x, means, color=colours[variant])
            add_tooltip(line, f"{variant}: {means[-1]:.2f} %")
            if variant in named_variants:
                spots.append((x[-1], means[-1], shorten_variant(variant), colours[variant]))
        axes.set_xlabel("epoch")
        axes.set_ylabel("validation top-1, %")
        axes.tick_params(length=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.margins(x=0.02, y=0.06)
        layout.place_row(figure, [(axes, spots)], has_titles=False)
        return render_inline_svg(figure, "Learning curves")


def _compute_epoch_band(runs: Sequence[Sequence[Epoch]]) -> list[tuple[int, float, float, float]]:
    """Return (epoch, mean, lowest, highest) in percent for the epochs that every run has."""
    band = []
    for epochs in zip(*runs, strict=False):
        values = [100 * e.val_top1 for e in epochs if e.val_top1 is not None]
        if values:
            band.append((epochs[0].epoch, statistics.mean(values), min(values), max(values)))
    return band
