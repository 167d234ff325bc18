"""Results of the training and evaluation benches: one row per network, its ratios and how it is printed."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from attncli.benchmark import history
from attncli.benchmark.history import Spread
from attncli.benchmark.training_loops import BenchSetting

COMPARED_KEYS = ("backbone", "attn", "batch_size")  # rows that can be compared
FEWEST_JUDGED_ROUNDS = 3  # one round has quartiles without width, and two have little


@dataclass(frozen=True, kw_only=True)
class TrainingBenchRow:
    """One network: throughput of each contender and ratios of attncli's to the others' (above 1: faster)."""

    backbone: str
    attn: str
    batch_size: int
    steps: int  # per turn
    rounds: int
    images_per_s: dict[str, float]  # medians
    ratios: dict[str, Spread]  # quartiles and median by rival


def summarize_rounds(setting: BenchSetting, rounds: Sequence[Mapping[str, float]]) -> TrainingBenchRow:
    """Return medians and quartiles of the times of the rounds."""
    images = setting.batch_size * setting.steps
    names = list(rounds[0])
    return TrainingBenchRow(
        backbone=setting.backbone,
        attn=setting.attn,
        batch_size=setting.batch_size,
        steps=setting.steps,
        rounds=len(rounds),
        images_per_s={name: images / statistics.median(r[name] for r in rounds) for name in names},
        ratios={name: compute_quartiles([r[name] / r["ours"] for r in rounds]) for name in names if name != "ours"},
    )


def compute_quartiles(values: Sequence[float]) -> Spread:
    """Return lower quartile, median and upper quartile."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [*values] * 3
    return [low, middle, high]


def format_training_row(row: TrainingBenchRow, earlier_row: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Format a row as text by column; with `earlier_row` of an earlier bench, also the change of the ratios."""
    cells = {
        "backbone": row.backbone,
        "attn": row.attn,
        "batch": str(row.batch_size),
        "images/s": f"{row.images_per_s['ours']:,.0f}",
    }
    for name, ratio in row.ratios.items():
        cells[f"x {name}"] = f"{ratio[1]:.2f} ({ratio[0]:.2f}-{ratio[2]:.2f})"
    if earlier_row is not None:
        names = [name for name in row.ratios if name in earlier_row["ratios"]]
        cells["since then"] = ", ".join(_describe_change(row, earlier_row, name) for name in names)
    return cells


def _describe_change(row: TrainingBenchRow, earlier_row: Mapping[str, Any], name: str) -> str:
    """Return how a ratio changed, and the verdict if the quartiles of both benches are of rounds enough."""
    factor, verdict = history.compare_spreads(row.ratios[name], earlier_row["ratios"][name])
    is_judged = min(row.rounds, earlier_row["rounds"]) >= FEWEST_JUDGED_ROUNDS
    return f"{name} {factor - 1:+.1%} {verdict}" if is_judged else f"{name} {factor - 1:+.1%}"
