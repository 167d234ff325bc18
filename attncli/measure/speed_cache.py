"""Store speeds in a file: each is measured once a day per network, code, machine and libraries. Does not load torch.

An entry is a Speed under a hash of everything that it depends on. The entry also has, under `of`, what was hashed, so
that a plan can look up the speed of a network without building it. Older entries without `of` are found by hash only.
"""

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from attncli.measure.code_state import name_training_code
from attncli.recipe import Recipe, Train
from attncli.records import Speed
from attncli.system import gpu_support, hardware
from attncli.system.files import write_atomically

SPEEDS_FILE = "speeds.json"  # in the folder of runs
MACHINE_KEYS = ("cpu", "usable_cpus", "threads", "gpu", "torch", "torchvision", "cuda", "platform")
TRAIN_KEYS = ("batch_size", "optimizer", "nesterov", "clip_norm", "channels_last", "compile")
# In an entry only if they are not at their default; an entry without one was timed at its default.
LATE_TRAIN_KEYS = ("accumulate", "deterministic", "graph", "lr_factors", "class_weights", "ema", "label_smoothing")
MIXING_KEYS = ("mixup", "cutmix")  # of the data: the labels are shares of classes then
MECHANISM_KEYS = ("attn", "options", "site", "stages", "blocks")
MAX_AGE_S = 24 * 3600.0  # of a speed that is served from the file
SpeedEntry = dict[str, Any]


def make_speed_key(
    recipe: Recipe,
    classes: int,
    size: tuple[int, int],
    frames: int | None,
    precision: str,
    machine: Mapping[str, Any],
) -> dict[str, Any]:
    """Return everything that a timing depends on: network, images, training, machine, and the code of all of them."""
    identity, mixing = recipe.build_identity(), _read_changed_values(recipe.data, MIXING_KEYS)
    return {
        "model": identity["model"],
        "images": [classes, *size, frames],
        "train": {name: identity["train"][name] for name in TRAIN_KEYS}
        | _read_changed_values(recipe.train, LATE_TRAIN_KEYS)
        | {"precision": precision},
        "measure": recipe.measure.model_dump(exclude={"speed", "check_memory"}),
        "machine": {name: machine.get(name) for name in MACHINE_KEYS},
        "code": name_training_code(recipe),
    } | ({"mixing": mixing} if mixing else {})


def _read_changed_values(section: BaseModel, names: Sequence[str]) -> dict[str, Any]:
    """Return the values of a recipe's section under these names that are not the defaults."""
    defaults = type(section)().model_dump(include=set(names))
    return {name: value for name, value in section.model_dump(include=set(names)).items() if value != defaults[name]}


def get_or_measure_speed(
    file: Path,
    key: Mapping[str, Any],
    compute: Callable[[], Speed],
    *,
    requested_precision: str = "",
    max_age_s: float | None = MAX_AGE_S,
) -> Speed:
    """Return the speed that `file` has under `key`; otherwise measure it with `compute` and add it to the file.

    `requested_precision` is the recipe's precision as written, perhaps `auto`. A speed that is older than `max_age_s`
    seconds is measured again; None takes one of any age. The file is JSON and replaced as a
    whole; an unreadable file counts as empty. If two processes write at the same time, one figure may be lost, and is
    then measured again.
    """
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    entry = read_speed_entries(file).get(name)
    if entry is not None and (max_age_s is None or _compute_age(entry) <= max_age_s):
        return _make_speed(entry)
    speed = compute()
    file.parent.mkdir(parents=True, exist_ok=True)
    updated = read_speed_entries(file) | {name: {**asdict(speed), "of": {**key, "asked": requested_precision}}}
    write_atomically(file, json.dumps(updated, indent=1) + "\n")
    return speed


def read_speed_entries(file: Path) -> dict[str, SpeedEntry]:
    """Return the entries of a file by name; entries of another version of the record are skipped."""
    try:
        tree = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    field_names = {f.name for f in fields(Speed)}
    required_names = {f.name for f in fields(Speed) if f.default is MISSING}
    if not isinstance(tree, dict):
        return {}
    return {
        name: entry
        for name, entry in tree.items()
        if isinstance(entry, dict) and required_names <= entry.keys() <= {*field_names, "of"}
    }


def _compute_age(entry: SpeedEntry) -> float:
    """Return the age of an entry in seconds; infinite for one of an earlier version, which has no date."""
    try:
        return (datetime.now(UTC) - datetime.fromisoformat(entry["measured_at"])).total_seconds()
    except (KeyError, TypeError, ValueError):
        return math.inf


@dataclass(frozen=True, kw_only=True)
class MeasuredRates:
    """Measured throughput of a network on this machine."""

    train_images_per_s: float
    infer_images_per_s: float
    device: str
    threads: int
    is_own_timing: bool  # timed as the recipe says; otherwise the plain network, timed as the baseline of a mechanism


def find_rates(entries: Sequence[SpeedEntry], recipe: Recipe, images: Sequence[int | None]) -> MeasuredRates | None:
    """Return the measured rates of a recipe's network for its training on such images on this machine, or None.

    `images` are (classes, H, W, T or None). Of several entries the one with the latest date is used, the network's own
    before others.
    """
    matching = [
        candidate
        for candidate in entries
        if "of" in candidate
        and _is_same_training(candidate["of"], recipe, images)
        and hardware.is_this_machine(candidate["of"]["machine"])
    ]
    model = recipe.build_identity()["model"]
    matching.reverse()  # of entries without a date the last one goes first
    matching.sort(key=_compute_age)
    for entry in matching:
        if entry["of"]["model"] == model:
            return _make_rates(
                entry,
                "",
                is_own_timing=entry["of"]["measure"] == recipe.measure.model_dump(exclude={"speed", "check_memory"}),
            )
    for entry in matching if recipe == recipe.make_baseline() else []:
        if entry["of"]["model"] | {name: model[name] for name in MECHANISM_KEYS} == model:
            return _make_rates(entry, "baseline_", is_own_timing=False)
    return None


def _is_same_training(key: Mapping[str, Any], recipe: Recipe, images: Sequence[int | None]) -> bool:
    """Return whether an entry's images, device and training are the recipe's; it says which precision `auto` was."""
    train_values, default_values = recipe.train.model_dump(), Train().model_dump()
    return (
        "processes" not in key
        and ("device" in key) == (bool(key["machine"].get("gpu")) and gpu_support.read_requested_device() == "cpu")
        and key["images"] == list(images)
        and key.get("mixing", {}) == _read_changed_values(recipe.data, MIXING_KEYS)
        and all(key["train"][name] == train_values[name] for name in TRAIN_KEYS)
        and all(key["train"].get(name, default_values[name]) == train_values[name] for name in LATE_TRAIN_KEYS)
        and train_values["precision"] in (key["asked"], key["train"]["precision"])
    )


def _make_rates(entry: SpeedEntry, prefix: str, *, is_own_timing: bool) -> MeasuredRates:
    return MeasuredRates(
        train_images_per_s=entry[f"{prefix}train_images_per_s"],
        infer_images_per_s=entry[f"{prefix}infer_images_per_s"],
        device=entry["device"],
        threads=entry["threads"],
        is_own_timing=is_own_timing,
    )


def _make_speed(entry: SpeedEntry) -> Speed:
    return Speed(**{k: v for k, v in entry.items() if k != "of"})
