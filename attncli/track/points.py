"""Records as MLflow metrics: one naming for all, epochs as steps, timestamps that do not depend on when they are sent.

Timestamps are the run's start plus the training time so far. A point sent twice is thus the same to the bit,
and the store keeps one of it, even where two writers race.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from attncli.records import Cost, Epoch, Evaluation, Record, Speed

COSTS = ("params", "macs", "elementwise", "activation_bytes")


class Point(NamedTuple):
    """One value of one metric."""

    key: str
    value: float
    step: int
    timestamp_ms: int


def values(record: Record) -> dict[str, float]:
    """The metrics of a record by name; what was not measured is left out."""
    found: dict[str, float | None]
    if isinstance(record, Epoch):
        found = _of_epoch(record)
    elif isinstance(record, Evaluation):
        found = {f"{record.split}/{name}": getattr(record, name) for name in ("loss", "top1", "top5", "images_per_s")}
    elif isinstance(record, Cost):
        found = _of_cost(record)
    else:
        found = _of_speed(record)
    return {key: float(value) for key, value in found.items() if value is not None}


def _of_epoch(record: Epoch) -> dict[str, float | None]:
    return {
        "train/loss": record.train_loss,
        "train/lr": record.lr,
        "train/images_per_s": record.train_images_per_s,
        "train/seconds": record.train_seconds,
        "train/peak_memory_bytes": record.peak_memory_bytes,
        "val/loss": record.val_loss,
        "val/top1": record.val_top1,
        "val/top5": record.val_top5,
    }


def _of_cost(record: Cost) -> dict[str, float | None]:
    found: dict[str, float | None] = {"cost/image_size": record.image_size}
    for name in COSTS:
        whole, base = getattr(record, name), getattr(record, f"baseline_{name}")
        percent = record.percent(name)
        short = name.removesuffix("_bytes")
        found |= {
            f"cost/{name}": whole,
            f"overhead/{name}": whole - base,
            f"overhead/{short}_pct": percent if math.isfinite(percent) else None,
        }
    return found


def _of_speed(record: Speed) -> dict[str, float | None]:
    numbers = (
        "train_images_per_s", "infer_images_per_s", "baseline_train_images_per_s", "baseline_infer_images_per_s",
        "train_ratio", "train_ratio_low", "train_ratio_high", "infer_ratio", "infer_ratio_low", "infer_ratio_high",
        "batch_size", "repeats", "threads", "peak_memory_bytes", "baseline_peak_memory_bytes",
    )  # fmt: skip
    return {f"speed/{name}": getattr(record, name) for name in numbers}


@dataclass
class Trace:
    """Turns the records of one run, in their order, into points."""

    started_ms: int
    epoch: int = 0
    seconds: float = 0.0

    def points(self, record: Record) -> list[Point]:
        """The points of the next record; what is no epoch stands at the last epoch's step."""
        if isinstance(record, Epoch):
            self.epoch = record.epoch
            self.seconds += record.train_seconds
        at = self.started_ms + round(1000 * self.seconds)
        return [Point(key, value, self.epoch, at) for key, value in values(record).items()]


def trace(records: Iterable[Record], started_ms: int) -> list[Point]:
    """All points of a run, one for each key and step (the first, as it is the one a store already has)."""
    way = Trace(started_ms)
    found: dict[tuple[str, int], Point] = {}
    for record in records:
        for point in way.points(record):
            found.setdefault((point.key, point.step), point)
    return list(found.values())
