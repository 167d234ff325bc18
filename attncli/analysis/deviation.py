"""Published figures of one network from all its sources, beside each other and beside what is found here."""

import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from attncli import attention, backbones, validation
from attncli.analysis.count_cache import CountCache
from attncli.analysis.network_key import ImageSpec, RunIndex, index_runs, make_network_key
from attncli.attention import NONE
from attncli.dataset_catalog import list_by_property
from attncli.errors import UserError
from attncli.literature import published
from attncli.literature.published import ParameterMatch, PublishedNetwork, PublishedRow
from attncli.recipe import Recipe
from attncli.runs import FinishedRun

MEBI = 2**20
SETTINGS = ("variant", "basis", "reduction", "kernel_size", "experts", "frames", "img_size", "pretrain", "epochs")
UNITS = {"params": "M", "macs": "G", "top1": "%"}


@dataclass(frozen=True)
class PrintedFigure:
    """A figure in a source: `value` in millions, billions or percent as UNITS says, `text` as it is printed."""

    value: float
    text: str
    source: str
    verified: bool


@dataclass(frozen=True)
class PublishedFigure:
    """One figure of one network: every source that prints it, and ours; `n` runs where it is an accuracy."""

    dataset: str
    network: str
    name: str  # of UNITS
    printed: tuple[PrintedFigure, ...]
    ours: float | None
    n: int = 0

    @property
    def deviation_range(self) -> tuple[float, float] | None:
        """The lowest and highest deviation of ours from a source: percent, of accuracies points; None without ours."""
        if self.ours is None:
            return None
        deviations = [
            self.ours - p.value if self.name == "top1" else 100 * (self.ours / p.value - 1) for p in self.printed
        ]
        return min(deviations), max(deviations)

    @property
    def source_spread(self) -> float:
        """How far the sources are apart: percent of the lowest, of accuracies points."""
        values = [p.value for p in self.printed]
        distance = max(values) - min(values)
        return distance if self.name == "top1" else 100 * distance / min(values)

    def to_json_dict(self) -> dict[str, Any]:
        """Plain values for JSON and CSV."""
        low, high = self.deviation_range or (None, None)
        return {
            "dataset": self.dataset, "network": self.network, "figure": self.name, "unit": UNITS[self.name],
            "lowest": min(p.value for p in self.printed), "highest": max(p.value for p in self.printed),
            "spread": self.source_spread,
            "ours": self.ours, "n": self.n, "lowest_deviation": low, "highest_deviation": high,
            "printed": [p.text for p in self.printed], "sources": [p.source for p in self.printed],
        }  # fmt: skip


def collect_figures(
    rows: Sequence[PublishedRow], counts: CountCache, runs: Sequence[FinishedRun] = ()
) -> list[PublishedFigure]:
    """The figures of the rows, network by network, in the order of the rows."""
    groups: dict[tuple[str, str], list[PublishedRow]] = defaultdict(list)
    for row in rows:
        groups[row.dataset, _format_row_network(row)].append(row)
    run_index = index_runs(runs)
    figures = [
        f
        for (dataset, name), same_network in groups.items()
        for f in _compare_sources(dataset, name, same_network, counts, run_index)
    ]
    counts.save_counts()
    return figures


def _format_row_network(row: PublishedRow) -> str:
    """The network as the sources call it, with what they vary."""
    varied_settings = [f"{key} {row.figures[key]}" for key in SETTINGS if key in row.figures]
    base = row.backbone if row.attn == NONE else f"{row.backbone} + {row.attn}"
    return ", ".join([base, *varied_settings])


def _compare_sources(
    dataset: str, name: str, rows: Sequence[PublishedRow], counts: CountCache, run_index: RunIndex
) -> Iterator[PublishedFigure]:
    """The figures that any of these rows prints."""
    network = next(
        (row.match.network for row in rows if isinstance(row.match, ParameterMatch)), None
    ) or _guess_network(rows[0])
    for figure, read_figure in (("params", _read_params), ("macs", _read_macs), ("top1", _read_top1)):
        printed = tuple(p for row in rows for p in [read_figure(row)] if p is not None)
        if printed:
            ours, n = _find_own_figure(figure, network, dataset, counts, run_index)
            yield PublishedFigure(dataset, name, figure, printed, ours, n)


def _read_params(row: PublishedRow) -> PrintedFigure | None:
    """Parameters in millions of 10^6, whatever the source counts in; what only its network has is taken off."""
    figures = row.figures
    if "params" not in figures and "params_m" not in figures:
        return None
    match = row.match if isinstance(row.match, ParameterMatch) else None
    in_mi = match.unit == MEBI if match else str(figures.get("unit", "")).startswith("params in 2^20")
    extra_params = match.plus if match else 0
    count = figures["params"] if "params" in figures else figures["params_m"] * (MEBI if in_mi else 10**6)
    text = f"{figures['params']:,}" if "params" in figures else f"{figures['params_m']} M"
    if in_mi and "params" not in figures:
        text += " of 2^20"
    if extra_params:
        text += f", {extra_params:+,} of its own"
    return _make_printed((count - extra_params) / 1e6, text, row)


def _read_macs(row: PublishedRow) -> PrintedFigure | None:
    """Multiply-accumulates in billions, as sources print "GFLOPs"."""
    value = row.figures.get("gflops")
    unit = " (apparently of 2^30)" if "apparently in 2^30" in str(row.figures.get("unit")) else ""
    return None if value is None else _make_printed(float(value), f"{value} G{unit}", row)


def _read_top1(row: PublishedRow) -> PrintedFigure | None:
    """Accuracy in percent, from errors too."""
    value = row.figures.get("top1")
    if value is None:
        error = row.figures.get("err1", row.figures.get("error"))
        value = None if error is None else round(100 - float(error), 4)
    return None if value is None else _make_printed(float(value), f"{value} %", row)


def _make_printed(value: float, text: str, row: PublishedRow) -> PrintedFigure:
    return PrintedFigure(value, text, row.source, row.verified != "no")


def _guess_network(row: PublishedRow) -> PublishedNetwork | None:
    """The network of a row that says nothing of how to build it: our defaults, where we have such a network."""
    classes, size = published.IMAGES.get(row.dataset, (None, None))
    has_no_settings = not any(key in row.figures for key in SETTINGS)
    is_known = row.attn == NONE or row.attn in attention.mechanism_names()
    if (
        classes is None
        or size is None
        or not has_no_settings
        or not is_known
        or row.backbone not in backbones.backbone_names()
    ):
        return None
    return PublishedNetwork(backbone=row.backbone, attn=row.attn, classes=classes, size=size)


def _find_own_figure(
    figure: str, network: PublishedNetwork | None, dataset: str, counts: CountCache, run_index: RunIndex
) -> tuple[float | None, int]:
    """Our figure and the number of runs behind it."""
    if network is None:
        return None, 0
    try:
        recipe = validation.read(values=network.to_recipe_values())
        if figure == "top1":
            return _average_accuracy(recipe, next(iter(list_by_property(printed_name=dataset)), None), run_index)
        images = ImageSpec(network.size, network.classes, network.frames)
        return counts.get_count(figure, recipe, images) / (1e6 if figure == "params" else 1e9), 0
    except UserError:
        return None, 0


def _average_accuracy(recipe: Recipe, dataset: str | None, run_index: RunIndex) -> tuple[float | None, int]:
    """Return the mean accuracy in percent of finished runs of the network, and how many; (None, 0) without runs.

    Of several protocols the one with the most runs counts.
    """
    accuracies: list[float] = []
    for runs in run_index.get(make_network_key(recipe.model), {}).values():
        own = [
            100 * run.result.test_top1 for run in runs if run.dataset == dataset and run.result.test_top1 is not None
        ]
        accuracies = max(accuracies, own, key=len)
    return (statistics.mean(accuracies), len(accuracies)) if accuracies else (None, 0)
