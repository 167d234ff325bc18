"""Published figures of one network from all its sources, beside each other and beside what is found here."""

import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from attncli import attention, backbones, check
from attncli.attention import NONE
from attncli.errors import UserError
from attncli.recipe import Recipe
from attncli.survey import networks, published
from attncli.survey.exact import Counts
from attncli.survey.finished import Trained
from attncli.survey.networks import Images
from attncli.survey.published import Match, Network, Row

MI = 2**20
SETTINGS = ("variant", "basis", "reduction", "kernel_size", "experts", "frames", "img_size", "pretrain", "epochs")
DATASETS = {"CIFAR-10": "cifar10", "CIFAR-100": "cifar100", "ImageNet-1k": "imagenet", "SVHN": "svhn"}
UNITS = {"params": "M", "macs": "G", "top1": "%"}


@dataclass(frozen=True)
class Printed:
    """A figure in a source: `value` in millions, billions or percent as UNITS says, `text` as it is printed."""

    value: float
    text: str
    source: str
    verified: bool


@dataclass(frozen=True)
class Figure:
    """One figure of one network: every source that prints it, and ours; `n` runs where it is an accuracy."""

    dataset: str
    network: str
    name: str  # of UNITS
    printed: tuple[Printed, ...]
    ours: float | None
    n: int = 0

    @property
    def deviations(self) -> tuple[float, float] | None:
        """The lowest and highest deviation of ours from a source: percent, of accuracies points; None without ours."""
        if self.ours is None:
            return None
        found = [self.ours - p.value if self.name == "top1" else 100 * (self.ours / p.value - 1) for p in self.printed]
        return min(found), max(found)

    @property
    def spread(self) -> float:
        """How far the sources are apart: percent of the lowest, of accuracies points."""
        values = [p.value for p in self.printed]
        apart = max(values) - min(values)
        return apart if self.name == "top1" else 100 * apart / min(values)

    def plain(self) -> dict[str, Any]:
        """Plain values for JSON and CSV."""
        low, high = self.deviations or (None, None)
        return {
            "dataset": self.dataset, "network": self.network, "figure": self.name, "unit": UNITS[self.name],
            "lowest": min(p.value for p in self.printed), "highest": max(p.value for p in self.printed),
            "spread": self.spread, "ours": self.ours, "n": self.n, "lowest_deviation": low, "highest_deviation": high,
            "printed": [p.text for p in self.printed], "sources": [p.source for p in self.printed],
        }  # fmt: skip


def figures(rows: Sequence[Row], counts: Counts, runs: Sequence[Trained] = ()) -> list[Figure]:
    """The figures of the rows, network by network, in the order of the rows."""
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.dataset, _name(row)].append(row)
    found = [f for (dataset, name), same in groups.items() for f in _group(dataset, name, same, counts, runs)]
    counts.save()
    return found


def _name(row: Row) -> str:
    """The network as the sources call it, with what they vary."""
    told = [f"{key} {row.figures[key]}" for key in SETTINGS if key in row.figures]
    base = row.backbone if row.attn == NONE else f"{row.backbone} + {row.attn}"
    return ", ".join([base, *told])


def _group(dataset: str, name: str, rows: Sequence[Row], counts: Counts, runs: Sequence[Trained]) -> Iterator[Figure]:
    """The figures that any of these rows prints."""
    network = next((row.match.network for row in rows if isinstance(row.match, Match)), None) or _guess(rows[0])
    for figure, read in (("params", _params), ("macs", _macs), ("top1", _top1)):
        printed = tuple(p for row in rows for p in [read(row)] if p is not None)
        if printed:
            ours, n = _ours(figure, network, dataset, counts, runs)
            yield Figure(dataset, name, figure, printed, ours, n)


def _params(row: Row) -> Printed | None:
    """Parameters in millions of 10^6, whatever the source counts in; what only its network has is taken off."""
    figures = row.figures
    if "params" not in figures and "params_m" not in figures:
        return None
    match = row.match if isinstance(row.match, Match) else None
    in_mi = match.unit == MI if match else str(figures.get("unit", "")).startswith("params in 2^20")
    plus = match.plus if match else 0
    count = figures["params"] if "params" in figures else figures["params_m"] * (MI if in_mi else 10**6)
    text = f"{figures['params']:,}" if "params" in figures else f"{figures['params_m']} M"
    if in_mi and "params" not in figures:
        text += " of 2^20"
    if plus:
        text += f", {plus:+,} of its own"
    return _printed((count - plus) / 1e6, text, row)


def _macs(row: Row) -> Printed | None:
    """Multiply-accumulates in billions, as sources print "GFLOPs"."""
    value = row.figures.get("gflops")
    unit = " (apparently of 2^30)" if "apparently in 2^30" in str(row.figures.get("unit")) else ""
    return None if value is None else _printed(float(value), f"{value} G{unit}", row)


def _top1(row: Row) -> Printed | None:
    """Accuracy in percent, from errors too."""
    value = row.figures.get("top1")
    if value is None:
        error = row.figures.get("err1", row.figures.get("error"))
        value = None if error is None else round(100 - float(error), 4)
    return None if value is None else _printed(float(value), f"{value} %", row)


def _printed(value: float, text: str, row: Row) -> Printed:
    return Printed(value, text, row.source, row.verified != "no")


def _guess(row: Row) -> Network | None:
    """The network of a row that says nothing of how to build it: our defaults, where we have such a network."""
    classes, size = published.IMAGES.get(row.dataset, (None, None))
    plain = not any(key in row.figures for key in SETTINGS)
    known = row.attn == NONE or row.attn in attention.names()
    if classes is None or size is None or not plain or not known or row.backbone not in backbones.names():
        return None
    return Network(backbone=row.backbone, attn=row.attn, classes=classes, size=size)


def _ours(
    figure: str, network: Network | None, dataset: str, counts: Counts, runs: Sequence[Trained]
) -> tuple[float | None, int]:
    """Our figure and the number of runs behind it."""
    if network is None:
        return None, 0
    try:
        recipe = check.read(values=network.keys())
        if figure == "top1":
            return _reached(recipe, DATASETS.get(dataset), runs)
        images = Images(network.size, network.classes, network.frames)
        return counts.get(figure, recipe, images) / (1e6 if figure == "params" else 1e9), 0
    except UserError:
        return None, 0


def _reached(recipe: Recipe, dataset: str | None, runs: Sequence[Trained]) -> tuple[float | None, int]:
    """The mean accuracy in percent of finished runs of the network; of several protocols that with most seeds."""
    key = networks.key(recipe.model)
    protocols: Mapping[str, list[float]] = defaultdict(list)
    for run in runs:
        if run.network == key and run.dataset == dataset:
            protocols[run.protocol].append(100 * run.top1)
    best = max(protocols.values(), key=len, default=[])
    return (statistics.mean(best), len(best)) if best else (None, 0)
