"""Published figures of one network from all its sources, beside each other and beside ours."""

import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from attncli import attention, backbones, validation
from attncli.analysis.conditions import describe_part
from attncli.analysis.count_cache import CountCache
from attncli.analysis.network_key import ImageSpec, RunIndex, index_runs, make_network_key
from attncli.attention import NONE
from attncli.dataset_catalog import list_by_property
from attncli.errors import UserError
from attncli.literature import published
from attncli.literature.published import ParameterMatch, PublishedNetwork, PublishedRow
from attncli.recipe import Recipe
from attncli.runs import FinishedRun

IMAGENET_CLASSES = 1000
MEBI, GIBI = 2**20, 2**30
NATIVE_SIDES = {  # px: images of ImageNet that a network is published for, if not 224
    "efficientnet_b1": 240, "efficientnet_b2": 260, "efficientnet_b3": 300, "efficientnet_b4": 380,
    "efficientnet_b5": 456, "efficientnet_b6": 528, "efficientnet_b7": 600, "inception_v3": 299,
}  # fmt: skip
# ResNet v1 halves the map in the first 1x1 convolution of a bottleneck, v1.5 (ours, and torchvision's) in the 3x3 one.
# So its multiply-accumulates are a share of ours between these: it saves three convolutions as much in each network.
FIRST_VERSION_SHARES = {"resnet50": (0.92, 0.965), "resnet101": (0.96, 0.98), "resnet152": (0.973, 0.988)}
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
    """One figure of one network: every source that prints it, and ours; of an accuracy also the number `n` of runs."""

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
        same_network = [p for p in self.printed if not self.is_first_version(p)] or self.printed
        deviations = [
            self.ours - p.value if self.name == "top1" else 100 * (self.ours / p.value - 1) for p in same_network
        ]
        return min(deviations), max(deviations)

    def is_first_version(self, printed: PrintedFigure) -> bool:
        """Return whether a source counts ResNet v1, another network than ours of the same name."""
        shares = FIRST_VERSION_SHARES.get(self.network.partition(" ")[0])
        if self.name != "macs" or self.ours is None or shares is None:
            return False
        low, high = shares
        return low < printed.value / self.ours < high

    @property
    def source_spread(self) -> float:
        """How far the sources of one network are apart: percent of the lowest, of accuracies points."""
        values = [p.value for p in self.printed if not self.is_first_version(p)]
        if len(values) < 2:
            return 0.0
        distance = max(values) - min(values)
        return distance if self.name == "top1" else 100 * distance / min(values)

    def to_json_dict(self) -> dict[str, Any]:
        """Return plain values for JSON and CSV."""
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
    """Return the figures of the rows, network by network, in the order of the rows."""
    groups: dict[tuple[str, str], list[PublishedRow]] = defaultdict(list)
    for row in rows:
        groups[row.dataset, _format_row_network(row)].append(row)
    run_index = index_runs(runs)
    try:
        return [
            f
            for (dataset, name), same_network in groups.items()
            for f in _compare_sources(dataset, name, same_network, counts, run_index)
        ]
    finally:  # Ctrl-C loses no count either
        counts.save_counts()


def _format_row_network(row: PublishedRow) -> str:
    """Return the network by its name here, with the mechanism and the settings that the sources vary."""
    varied_settings = [f"{key} {row.figures[key]}" for key in SETTINGS if key in row.figures]
    base = row.own_backbone if row.attn == NONE else f"{row.own_backbone} + {row.attn}"
    return ", ".join([base, *varied_settings])


def _compare_sources(
    dataset: str, name: str, rows: Sequence[PublishedRow], counts: CountCache, run_index: RunIndex
) -> Iterator[PublishedFigure]:
    """Yield the figures that any of these rows prints."""
    matched = (row.match.network for row in rows if isinstance(row.match, ParameterMatch))
    network = next(matched, None) or next(filter(None, map(_guess_network, rows)), None)
    for figure, read_figure in (("params", _read_params), ("macs", _read_macs), ("top1", _read_top1)):
        printed = tuple(p for row in rows for p in [read_figure(row)] if p is not None)
        if printed:
            ours, n = _find_own_figure(figure, network, dataset, counts, run_index)
            yield PublishedFigure(dataset, name, figure, printed, ours, n)


def _read_params(row: PublishedRow) -> PrintedFigure | None:
    """Return parameters in millions, whatever unit the source uses, without those that only its network has."""
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
    """Return multiply-accumulates in billions, which sources print as "GFLOPs", whatever unit the source uses."""
    value = row.figures.get("gflops")
    if value is None:
        return None
    in_gi = "apparently in 2^30" in str(row.figures.get("unit"))
    text = f"{value} G (apparently of 2^30)" if in_gi else f"{value} G"
    return _make_printed(float(value) * (GIBI / 1e9 if in_gi else 1), text, row)


def _read_top1(row: PublishedRow) -> PrintedFigure | None:
    """Return the accuracy in percent, also of a row that prints an error."""
    value = row.figures.get("top1")
    if value is None:
        error = row.figures.get("err1", row.figures.get("error"))
        value = None if error is None else round(100 - float(error), 4)
    return None if value is None else _make_printed(float(value), f"{value} %", row)


def _make_printed(value: float, text: str, row: PublishedRow) -> PrintedFigure:
    return PrintedFigure(value, text, row.source, row.verified != "no")


def _guess_network(row: PublishedRow) -> PublishedNetwork | None:
    """Return our default network for a row that does not say how to build it, or None if we have no such network."""
    classes, size = published.IMAGES.get(row.dataset, (None, None))
    has_no_settings = not any(key in row.figures for key in SETTINGS if key != "img_size")
    # A row that says why its parameters do not compare may be of another network than ours.
    backbone = row.backbone if isinstance(row.match, str) else row.own_backbone
    if classes == IMAGENET_CLASSES:
        size = int(row.figures.get("img_size") or NATIVE_SIDES.get(backbone) or size or 0) or None
    is_known = row.attn == NONE or row.attn in attention.mechanism_names()
    if (
        classes is None
        or size is None
        or not has_no_settings
        or not is_known
        or backbone not in backbones.backbone_names()
    ):
        return None
    return PublishedNetwork(backbone=backbone, attn=row.attn, classes=classes, size=size)


def _find_own_figure(
    figure: str, network: PublishedNetwork | None, dataset: str, counts: CountCache, run_index: RunIndex
) -> tuple[float | None, int]:
    """Return our figure and the number of runs behind it; (None, 0) if there is none."""
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

    Of several protocols the one with the most runs counts. Runs on a part of the dataset do not count.
    """
    accuracies: list[float] = []
    for runs in run_index.get(make_network_key(recipe.model), {}).values():
        own = [
            100 * run.result.test_top1
            for run in runs
            if run.dataset == dataset and run.result.test_top1 is not None and not describe_part(run.recipe)
        ]
        accuracies = max(accuracies, own, key=len)
    return (statistics.mean(accuracies), len(accuracies)) if accuracies else (None, 0)
