"""Convert records to MLflow metrics: fixed names, epochs as steps, timestamps independent of when they are sent.

Timestamps are the run's start plus the training time so far. So a point that is sent twice is the same bit for bit,
and the store keeps only one, even if two writers race.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from attncli.records import Cost, Epoch, Evaluation, Record, Speed

COST_FIELDS = ("params", "macs", "elementwise", "activation_bytes")


class MetricPoint(NamedTuple):
    """One value of one metric."""

    key: str
    value: float
    step: int
    timestamp_ms: int


def extract_metrics(record: Record) -> dict[str, float]:
    """Return the metrics of a record by name; what was not measured is left out."""
    metrics: dict[str, float | None]
    if isinstance(record, Epoch):
        metrics = _list_epoch_metrics(record)
    elif isinstance(record, Evaluation):
        names = ("loss", "top1", "images_per_s", "images")
        metrics = {f"{record.split}/{name}": getattr(record, name) for name in names}
        metrics[f"{record.split}/top5"] = record.informative_top5
        metrics[f"{record.split}/top1_pct"] = 100 * record.top1
        metrics[f"{record.split}/macro_f1"] = record.compute_macro_f1()
        metrics[f"{record.split}/nonfinite"] = record.count_nonfinite() or None
    elif isinstance(record, Cost):
        metrics = _list_cost_metrics(record)
    else:
        metrics = _list_speed_metrics(record)
    return {key: float(value) for key, value in metrics.items() if value is not None}


def _list_epoch_metrics(record: Epoch) -> dict[str, float | None]:
    return {
        "train/loss": record.train_loss,
        "train/lr": record.lr,
        "train/images_per_s": record.train_images_per_s,
        "train/seconds": record.train_seconds,
        "train/peak_memory_bytes": record.peak_memory_bytes,
        "val/loss": record.val_loss,
        "val/top1": record.val_top1,
        "val/top1_pct": None if record.val_top1 is None else 100 * record.val_top1,
        "val/top5": record.val_top5,
        "val/nonfinite": record.val_nonfinite or None,
    }


def _list_cost_metrics(record: Cost) -> dict[str, float | None]:
    metrics: dict[str, float | None] = {"cost/image_size": record.image_size}
    for name in COST_FIELDS:
        network_value, baseline_value = getattr(record, name), getattr(record, f"baseline_{name}")
        short_name = name.removesuffix("_bytes")
        metrics |= {
            f"cost/{name}": network_value,
            f"overhead/{name}": network_value - baseline_value,
            f"overhead/{short_name}_pct": record.compute_overhead(name),
        }
    return metrics


def _list_speed_metrics(record: Speed) -> dict[str, float | None]:
    names = (
        "train_images_per_s", "infer_images_per_s", "baseline_train_images_per_s", "baseline_infer_images_per_s",
        "train_ratio", "train_ratio_low", "train_ratio_high", "infer_ratio", "infer_ratio_low", "infer_ratio_high",
        "batch_size", "repeats", "threads", "peak_memory_bytes", "baseline_peak_memory_bytes",
        "train_host_share", "infer_host_share", "baseline_train_host_share", "baseline_infer_host_share",
    )  # fmt: skip
    return {f"speed/{name}": getattr(record, name) for name in names}


@dataclass
class MetricStream:
    """Convert the records of one run, in their order, to points."""

    started_ms: int
    epoch: int = 0
    seconds: float = 0.0

    def convert_record(self, record: Record) -> list[MetricPoint]:
        """Return the points of the next record; a record other than an epoch gets the last epoch's step."""
        if isinstance(record, Epoch):
            self.epoch = record.epoch
            self.seconds += record.train_seconds
        timestamp_ms = self.started_ms + round(1000 * self.seconds)
        return [MetricPoint(key, value, self.epoch, timestamp_ms) for key, value in extract_metrics(record).items()]


def collect_run_metrics(records: Iterable[Record], started_ms: int) -> list[MetricPoint]:
    """Return all points of a run, one for each key and step (the first, as it is the one a store already has)."""
    stream = MetricStream(started_ms)
    points_by_step: dict[tuple[str, int], MetricPoint] = {}
    for record in records:
        for point in stream.convert_record(record):
            points_by_step.setdefault((point.key, point.step), point)
    return list(points_by_step.values())
