"""Speeds kept in a file, so that a figure is taken once for a network, a machine and a set of libraries. No torch.

An entry is a Speed under a hash of all that it depends on. Beside it stands, under `of`, what was hashed: so a plan can
look up the speed of a network that it never builds. Entries made before that was so are found by their hash alone.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from attncli import host
from attncli.recipe import Recipe
from attncli.records import Speed, write_atomically

FILE = "speeds.json"  # in the folder of runs
MACHINE = ("cpu", "usable_cpus", "threads", "gpu", "torch", "torchvision", "cuda", "platform")
TRAIN = ("batch_size", "optimizer", "nesterov", "clip_norm", "channels_last", "compile")
MECHANISM = ("attn", "options", "site", "stages", "blocks")
Entry = dict[str, Any]


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


def cached_speed(file: Path, key: Mapping[str, Any], compute: Callable[[], Speed], *, asked: str = "") -> Speed:
    """The speed that `file` holds under `key`, else what `compute` measures, which the file then holds.

    `asked` is the recipe's precision as it stands there, perhaps `auto`. The file is JSON and replaced as a whole; one
    that can't be read counts as empty. Two processes that write at once may lose one figure, which is then measured
    again.
    """
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    found = entries(file).get(name)
    if found is not None:
        return _speed(found)
    speed = compute()
    file.parent.mkdir(parents=True, exist_ok=True)
    known = entries(file) | {name: {**asdict(speed), "of": {**key, "asked": asked}}}
    write_atomically(file, json.dumps(known, indent=1) + "\n")
    return speed


def entries(file: Path) -> dict[str, Entry]:
    """The entries of a file by name; those of another version of the record are passed over."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    names = {f.name for f in fields(Speed)}
    if not isinstance(found, dict):
        return {}
    return {k: v for k, v in found.items() if isinstance(v, dict) and v.keys() - {"of"} == names}


@dataclass(frozen=True, kw_only=True)
class Rates:
    """How fast a network was timed on this machine."""

    train_images_per_s: float
    infer_images_per_s: float
    device: str
    threads: int
    own: bool  # timed as the recipe asks for; else it is the plain network, timed beside a mechanism's


def rates(known: Sequence[Entry], recipe: Recipe, images: Sequence[int | None]) -> Rates | None:
    """What is known of a recipe's very network, trained as it says on images of this kind, on this machine.

    `images` are (classes, H, W, T or None). Of several entries the latest counts, the network's own before others.
    """
    like = [e for e in known if "of" in e and _same(e["of"], recipe, images) and host.is_this(e["of"]["machine"])]
    model = recipe.identity()["model"]
    for entry in reversed(like):
        if entry["of"]["model"] == model:
            return _rates(entry, "", own=entry["of"]["measure"] == recipe.measure.model_dump(exclude={"speed"}))
    for entry in reversed(like if recipe == recipe.baseline() else []):
        if entry["of"]["model"] | {name: model[name] for name in MECHANISM} == model:
            return _rates(entry, "baseline_", own=False)
    return None


def _same(of: Mapping[str, Any], recipe: Recipe, images: Sequence[int | None]) -> bool:
    """Whether an entry's images and training are the recipe's; which precision `auto` is, an entry of `auto` tells."""
    wanted = recipe.train.model_dump()
    return (
        of["images"] == list(images)
        and all(of["train"][name] == wanted[name] for name in TRAIN)
        and wanted["precision"] in (of["asked"], of["train"]["precision"])
    )


def _rates(entry: Entry, whose: str, *, own: bool) -> Rates:
    return Rates(
        train_images_per_s=entry[f"{whose}train_images_per_s"],
        infer_images_per_s=entry[f"{whose}infer_images_per_s"],
        device=entry["device"],
        threads=entry["threads"],
        own=own,
    )


def _speed(entry: Entry) -> Speed:
    return Speed(**{k: v for k, v in entry.items() if k != "of"})
