"""Speeds kept in a file, so that a figure is taken once for a network, a machine and a set of libraries."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from attncli.recipe import Recipe
from attncli.records import Speed, write_atomically

MACHINE = ("cpu", "usable_cpus", "threads", "gpu", "torch", "torchvision", "cuda", "platform")
TRAIN = ("batch_size", "optimizer", "nesterov", "clip_norm", "channels_last", "compile")


def speed_key(
    recipe: Recipe,
    classes: int,
    size: tuple[int, int],
    frames: int | None,
    precision: str,
    machine: Mapping[str, Any],
) -> dict[str, Any]:
    """Everything that a timing depends on: network (a user's own file by its content), images, training, machine."""
    identity = recipe.identity()
    return {
        "model": identity["model"],
        "images": [classes, *size, frames],
        "train": {name: identity["train"][name] for name in TRAIN} | {"precision": precision},
        "measure": recipe.measure.model_dump(exclude={"speed"}),
        "machine": {name: machine.get(name) for name in MACHINE},
    }


def cached_speed(file: Path, key: Mapping[str, Any], compute: Callable[[], Speed]) -> Speed:
    """The speed that `file` holds under `key`, else what `compute` measures, which the file then holds.

    The file is JSON and replaced as a whole; one that can't be read counts as empty. Two processes that write at
    once may lose one figure, which is then measured again.
    """
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    found = _read(file).get(name)
    if found is not None:
        return found
    speed = compute()
    file.parent.mkdir(parents=True, exist_ok=True)
    known = {k: asdict(v) for k, v in (_read(file) | {name: speed}).items()}
    write_atomically(file, json.dumps(known, indent=1) + "\n")
    return speed


def _read(file: Path) -> dict[str, Speed]:
    """The speeds of a file by name; entries of another version of the record are passed over."""
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    names = {f.name for f in fields(Speed)}
    if not isinstance(entries, dict):
        return {}
    return {k: Speed(**v) for k, v in entries.items() if isinstance(v, dict) and v.keys() == names}
