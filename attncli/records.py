"""What flows through a run: records, made once and only ever passed on, and their file, one JSON line each.

Units stand in the names; accuracies are fractions from 0 to 1.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter

from attncli.quantities import format_quantity
from attncli.system.files import write_atomically

T = TypeVar("T")
Status = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One pass over the training images, and the validation after it."""

    epoch: int  # from 1
    train_loss: float
    lr: float  # at the end of the epoch
    train_images_per_s: float  # training time only: pauses, evaluation and checkpoints do not count
    train_seconds: float
    val_loss: float | None = None
    val_top1: float | None = None
    val_top5: float | None = None  # of six classes or more
    val_nonfinite: int = 0  # validation images whose loss is no finite number: counted as wrong, left out of val_loss
    peak_memory_bytes: int | None = None  # of the accelerator


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Every image of a split, counted exactly once."""

    split: str
    images: int
    loss: float
    top1: float
    top5: float
    images_per_s: float
    confusion: list[list[int]]  # rows: true class, columns: predicted class
    # Images of each true class whose loss is no finite number: counted as wrong, in no cell of `confusion`, left out
    # of `loss`. Empty if there are none.
    nonfinite_by_class: list[int] = field(default_factory=list)

    @property
    def informative_top5(self) -> float | None:
        """Top-5, or None up to five classes: then it is always 1 and says nothing."""
        return self.top5 if len(self.confusion) > TRIVIAL_TOP5_CLASSES else None

    def count_correct(self) -> int:
        """Return the number of images whose class was predicted."""
        return sum(row[i] for i, row in enumerate(self.confusion))

    def count_images_by_class(self) -> list[int]:
        """Return the number of images of each true class."""
        nonfinite = self.nonfinite_by_class or [0] * len(self.confusion)
        return [sum(row) + other for row, other in zip(self.confusion, nonfinite, strict=True)]

    def count_nonfinite(self) -> int:
        """Return the number of images whose loss is no finite number."""
        return sum(self.nonfinite_by_class)

    def compute_macro_f1(self) -> float:
        """Return the mean over the classes of F1 = 2 TP / (2 TP + FP + FN); classes that do not occur are left out."""
        predicted = [sum(column) for column in zip(*self.confusion, strict=True)]
        occurrences = [images + predicted[i] for i, images in enumerate(self.count_images_by_class())]
        scores = [2 * self.confusion[i][i] / count for i, count in enumerate(occurrences) if count]
        return sum(scores) / len(scores)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a network costs without timing it, beside its baseline; MACs are multiply-accumulates of one image."""

    params: int
    baseline_params: int
    macs: int
    baseline_macs: int
    elementwise: int  # elements written by point-wise operations and reductions, one image
    baseline_elementwise: int
    activation_bytes: int  # kept for the backward pass, one image, float32
    baseline_activation_bytes: int
    image_size: int

    def compute_overhead(self, name: str) -> float | None:
        """Return the overhead of `params`, `macs`, ... over the baseline in percent, or None if the baseline has 0."""
        return compute_percent_added(getattr(self, name), getattr(self, f"baseline_{name}"))


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Throughput by interleaved timing (variant, baseline, variant, ...); ratios are variant over baseline."""

    train_images_per_s: float
    infer_images_per_s: float
    baseline_train_images_per_s: float
    baseline_infer_images_per_s: float
    train_ratio: float  # below 1: slower than the baseline
    train_ratio_low: float  # 95 % interval of the median of the paired ratios (of version 0.1.0: quartiles)
    train_ratio_high: float
    infer_ratio: float
    infer_ratio_low: float
    infer_ratio_high: float
    batch_size: int
    repeats: int
    precision: str
    device: str
    threads: int
    peak_memory_bytes: int | None = None
    baseline_peak_memory_bytes: int | None = None
    measured_at: str | None = None  # UTC, ISO 8601
    load: float | None = None  # processes that ran or waited on this machine (1 minute), the more of before and after
    cores_used_by_others: float | None = None  # that other programs kept busy on average meanwhile
    processes: int = 1  # that timed one after the other; the intervals of more than one know how they differ
    # On CUDA, the host's time to start a step's kernels as a share of the step's time (`measure.host_share`).
    train_host_share: float | None = None
    infer_host_share: float | None = None
    baseline_train_host_share: float | None = None
    baseline_infer_host_share: float | None = None

    @property
    def train_limit(self) -> str | None:
        """What limits training, of the network or of its baseline: `host` or `device`; None if it is unknown."""
        return name_speed_limit(self.train_host_share, self.baseline_train_host_share)

    @property
    def infer_limit(self) -> str | None:
        """The same of inference."""
        return name_speed_limit(self.infer_host_share, self.baseline_infer_host_share)


def describe_nonfinite(images: int, noun: str, source: str = "") -> str:
    """Return what became of images whose loss is no finite number; `noun` names one of them, `source` all."""
    of_source = f" of {source}" if source else ""
    return (
        f"the loss of {format_quantity(images, noun)}{of_source} is no finite number: wrong, and not in the mean loss"
    )


def name_speed_limit(*host_shares: float | None) -> str | None:
    """Return `host` if one of these steps waits for the host, `device` if none does, None if that was not measured.

    A ratio of speeds is one of the device only if neither step waits for the host.
    """
    shares = [share for share in host_shares if share is not None]
    if not shares:
        return None
    return "host" if max(shares) >= HOST_LIMIT else "device"


@dataclass(frozen=True, kw_only=True)
class Result:
    """A run in one record: what `run --json` prints and runs/<digest>/result.json holds."""

    digest: str
    run_id: str | None
    status: Status
    attn: str
    backbone: str
    dataset: str
    category: str
    seed: int
    epochs: int
    test_top1: float | None
    test_top5: float | None
    test_loss: float | None
    val_top1: float | None
    best_val_top1: float | None  # of the best epoch; the figures above are the last epoch's
    baseline: str  # the network that the overhead is over: the recipe's backbone without a mechanism
    params: int | None
    baseline_params: int | None
    macs: int | None
    baseline_macs: int | None
    train_images_per_s: float | None
    infer_images_per_s: float | None
    train_ratio: float | None
    infer_ratio: float | None
    seconds: float  # wall-clock time of the last call, and what earlier ones trained
    precision: str
    device: str
    machine: dict[str, Any]
    group: str
    data_digest: str
    folder: str
    test_images: int | None = None
    test_correct: int | None = None  # test images whose class was predicted: test_top1 is test_correct / test_images
    planned_seeds: int | None = None  # how many seeds the sweep or recipe planned when this run began
    test_macro_f1: float | None = None  # mean of the classes' F1; tells more than top-1 if classes differ in size
    code: str | None = None  # `attncli.measure.code_state`: <loop>/<mechanism>
    train_limit: str | None = None  # on CUDA: whether `host` or `device` limits the speeds of training compared
    infer_limit: str | None = None
    test_nonfinite: int = 0  # test images whose loss is no finite number: counted as wrong, left out of test_loss

    def count_added(self, name: str) -> int | None:
        """Return the `params` or `macs` added to the baseline, or None if they were not counted."""
        value, baseline = getattr(self, name), getattr(self, f"baseline_{name}")
        return None if value is None or baseline is None else value - baseline

    def compute_overhead(self, name: str) -> float | None:
        """Return the overhead of `params` or `macs` over the baseline in percent, or None if it is unknown."""
        value, baseline = getattr(self, name), getattr(self, f"baseline_{name}")
        return None if value is None or baseline is None else compute_percent_added(value, baseline)


def compute_percent_added(value: float, baseline: float) -> float | None:
    """Return by how much percent a value is above its baseline, or None if the baseline is 0."""
    return 100 * (value - baseline) / baseline if baseline else None


Record = Epoch | Evaluation | Cost | Speed
_KINDS: dict[str, type[Any]] = {"epoch": Epoch, "evaluation": Evaluation, "cost": Cost, "speed": Speed}
LOG, RESULT = "log.jsonl", "result.json"
SMALLEST_DIFFERENCE = 1e-9  # of accuracies: below, only rounding of floats (one image of a billion would be 1e-9)
PLAN_TAG = "planned_seeds"  # MLflow's tag of Result.planned_seeds
HOST_LIMIT = 0.9  # a host that needs this share of a step's time to start it limits the speed
TRIVIAL_TOP5_CLASSES = 5  # up to so many classes top-5 is always 1 and says nothing


def format_record(record: Record) -> str:
    """Return a record as one line of JSON with its kind."""
    return json.dumps({"kind": type(record).__name__.lower(), **asdict(record)})


def append_record(folder: Path, record: Record) -> None:
    """Add a record to the folder's log; it is on disk when this returns."""
    with (folder / LOG).open("a", encoding="utf-8") as file:
        file.write(format_record(record) + "\n")
        file.flush()
        os.fsync(file.fileno())


def read(folder: Path) -> list[Record]:
    """Return the records of a folder's log; lines that are no whole record, as a kill leaves one, are skipped."""
    path = folder / LOG
    if not path.exists():
        return []
    records: list[Record] = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            values = json.loads(text)
            records.append(parse_json_record(_KINDS[values["kind"]], values))
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
    return records


def parse_json_record(kind: type[T], values: Any) -> T:
    """Return a record (a dataclass) of values that were read from JSON; keys that it does not have are left out.

    Raises ValueError if the values are no mapping, one is missing, or one has another type.
    """
    if not isinstance(values, dict):
        raise ValueError(f"{type(values).__name__} in place of a mapping")
    names = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    adapter: TypeAdapter[T] = _build_adapter(kind)  # type: ignore[arg-type]
    return adapter.validate_python({name: value for name, value in values.items() if name in names})


@cache
def _build_adapter(kind: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def read_result(folder: Path) -> Result | None:
    """Return the result in a run's folder, or None if there is none or it is damaged.

    Its `folder` is where it lies now: a folder of runs may have been moved.
    """
    try:
        result = parse_json_record(Result, json.loads((folder / RESULT).read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError):
        return None
    accuracies = (result.test_top1, result.test_top5, result.val_top1, result.best_val_top1)
    if not all(value is None or 0 <= value <= 1 for value in accuracies):
        return None
    return replace(result, folder=str(folder))


def recover_test_counts(result: Result, test_images: int) -> Result:
    """Return the result with its number of correct test images, which results of earlier versions do not have.

    Args:
        result: A result; it is returned unchanged if it has the number, or if its accuracy is of another test set.
        test_images: The number of test images.
    """
    if result.test_correct is not None or result.test_top1 is None or test_images <= 0:
        return result
    correct = round(result.test_top1 * test_images)
    if abs(correct / test_images - result.test_top1) > SMALLEST_DIFFERENCE:
        return result
    return replace(result, test_images=test_images, test_correct=correct)


def replace_log(folder: Path, records: Iterable[Record]) -> None:
    """Replace the folder's whole log (on resuming, what came after the checkpoint is dropped)."""
    write_atomically(folder / LOG, "".join(format_record(r) + "\n" for r in records))
