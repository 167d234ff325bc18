"""Count every mechanism on the common backbones, and write the file that attncli brings.

What was counted by the code of today is kept; speeds, which are measured elsewhere, are kept too.
"""

import json
import re
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from attncli import attention, validation
from attncli.analysis import shipped_counts
from attncli.analysis.shipped_counts import QUANTITIES, USUAL_IMAGES, ShippedOverheads, name_network
from attncli.attention import NONE
from attncli.errors import UserError
from attncli.measure.cost import count_recipe
from attncli.model import InputSpec
from attncli.system.files import write_atomically
from tests.generate.literature_counts import collect_literature_counts


def count_figures(attn: str, backbone: str, frames: int | None = None) -> list[int]:
    """Return the figures of `QUANTITIES` of a mechanism on a backbone; raises UserError if it does not fit."""
    classes, side = USUAL_IMAGES[backbone]
    recipe = validation.read(None, [f"model.backbone={backbone}", f"model.attn={attn}"])
    counts = count_recipe(recipe, InputSpec(classes, (side, side), frames))
    return [getattr(counts, name) for name in QUANTITIES]


def write_overheads() -> None:
    """Write the file, with new counts of the mechanisms whose code is not that of the file."""
    old = shipped_counts.read_shipped_overheads()
    clip_length = validation.read(None, []).data.frames
    counts: dict[str, dict[str, list[int]]] = {}
    refusals: dict[str, dict[str, str]] = {}
    for backbone, (classes, side) in USUAL_IMAGES.items():
        for frames in (None, clip_length):
            network = name_network(backbone, (side, side), classes, frames)
            for attn in _list_mechanisms(frames is not None):
                if old is not None and old.is_current(attn) and (kept := old.counts.get(network, {}).get(attn)):
                    counts.setdefault(network, {})[attn] = kept
                    continue
                try:
                    counts.setdefault(network, {})[attn] = count_figures(attn, backbone, frames)
                except UserError as error:
                    refusals.setdefault(network, {})[attn] = error.problem
    _write(old, counts, refusals, {} if old is None else old.literature_counts)
    shipped_counts.read_shipped_overheads.cache_clear()
    _write(old, counts, refusals, collect_literature_counts())


def _list_mechanisms(on_clips: bool) -> list[str]:
    """Return the plain network and the mechanisms that work on clips, or all others."""
    return [NONE, *(n for n in attention.mechanism_names() if attention.describe_mechanism(n).needs_clips == on_clips)]


def _write(
    old: ShippedOverheads | None,
    counts: dict[str, dict[str, list[int]]],
    refusals: dict[str, dict[str, str]],
    literature_counts: Mapping[str, Mapping[str, int | str]],
) -> None:
    write_tree(
        {
            "format": shipped_counts.FORMAT,
            "made_with": {name: version(name).partition("+")[0] for name in ("attncli", *shipped_counts.LIBRARIES)},
            "shared_code": shipped_counts.hash_shared_code(),
            "mechanism_code": {name: shipped_counts.hash_mechanism_code(name) for name in attention.mechanism_names()},
            "counts": counts,
            "refusals": refusals,
            "literature_counts": literature_counts,
            "speeds": [vars(record) for record in old.speeds] if old is not None else [],
        }
    )


def write_tree(tree: Mapping[str, Any]) -> None:
    """Write the content of the file, as a whole; `speeds` are its last key."""
    path = shipped_counts.locate_file()
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, _format_tree(tree))


def _join_lines(figures: re.Match[str]) -> str:
    """Return the figures of a network, which were a line each, on one line."""
    return f"{{{' '.join(figures[1].split())}}}"


def _format_tree(tree: Mapping[str, Any]) -> str:
    """Return JSON with the figures of each network and each speed on one line, so that a change is one line too."""
    text = json.dumps({**tree, "speeds": []}, indent=1)
    text = re.sub(r"\[\s+(\d+),\s+(\d+),\s+(\d+),\s+(\d+)\s+\]", r"[\1, \2, \3, \4]", text)
    text = re.sub(r"\{\s+(\"(?:params|macs|memory)\": [^{}]*?)\s+\}", _join_lines, text)
    speeds = ",\n  ".join(json.dumps(record) for record in tree["speeds"])
    return text.replace('"speeds": []', f'"speeds": [\n  {speeds}\n ]' if speeds else '"speeds": []') + "\n"
