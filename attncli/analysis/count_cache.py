"""Exact quantities of networks, counted once and kept: torch is loaded only for what was never counted before.

The file of counts holds for one state of the code that decides them: networks, counting, torch, torchvision.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from attncli import attention
from attncli.analysis.network_key import ImageSpec, make_image_network_key
from attncli.analysis.shipped_counts import find_literature_count, find_shipped_counts
from attncli.errors import UserError
from attncli.recipe import Recipe
from attncli.system.files import expand_user_path, write_atomically

PACKAGE = Path(__file__).parents[1]
# Whole packages, so that a new file counts too; of the recipe because networks are known by what is not its default.
DECIDING_PARTS = ("attention", "backbones", "measure", "recipe", "model", "seeds.py")
LIBRARIES = ("torch", "torchvision")
SHIPPED_NAMES = {"params": "params", "macs": "macs", "memory": "activation_bytes"}  # as `shipped_counts` calls them


def choose_default_file() -> Path:
    """Return where counts are kept: $ATTNCLI_COUNTS, else ~/.cache/attncli/counts.json."""
    return expand_user_path(os.environ.get("ATTNCLI_COUNTS") or "~/.cache/attncli/counts.json", "ATTNCLI_COUNTS")


class CountCache:
    """Exact quantities by network and images, read from `file` and written back by `save_counts`."""

    def __init__(self, file: Path | None = None, report_network: Callable[[str], None] = lambda _: None) -> None:
        """Read the counts.

        Args:
            file: Where they are kept; by default `choose_default_file()`.
            report_network: Called with the name of each network before it is built.
        """
        self._file = file or choose_default_file()
        self._report_network = report_network
        self._state = compute_state()
        self._known = _read_counts(self._file, self._state)
        self._new = False

    def get_count(self, name: str, recipe: Recipe, images: ImageSpec) -> int:
        """Return a quantity (of `language.EXACT`) of a recipe's network for one image, or clip.

        Raises UserError if the network cannot be built for such images.
        """
        entry = f"{name} {make_image_network_key(recipe.model, images)}"
        if entry not in self._known:
            count = _find_shipped_count(name, recipe, images)
            if count is None:
                mechanism = "" if recipe.model.attn == attention.NONE else f" + {recipe.model.attn}"
                self._report_network(f"counting {recipe.model.backbone}{mechanism}")
                count = _count_now(name, recipe, images)
            self._known[entry] = count
            self._new = True
        count = self._known[entry]
        if isinstance(count, str):
            raise UserError(count, "this network cannot be built here")
        return count

    def save_counts(self) -> None:
        """Write what was newly counted; a folder that cannot be written costs only the time to count again."""
        if not self._new:
            return
        entries = _read_counts(self._file, self._state) | self._known
        with suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._file, json.dumps({"state": self._state, "counts": entries}, indent=1) + "\n")
            self._new = False


@cache
def compute_state(package: Path = PACKAGE) -> str:
    """Return a digest of everything that counts depend on: code of the package and versions of the libraries."""
    digest = hashlib.sha256()
    for path in _list_deciding_files(package):
        digest.update(path.read_bytes())
    for name in LIBRARIES:
        digest.update(f"{name} {version(name)}".encode())
    return digest.hexdigest()[:16]


def _list_deciding_files(package: Path) -> Iterable[Path]:
    for name in DECIDING_PARTS:
        path = package / name
        yield from sorted(path.rglob("*.py")) if path.is_dir() else [path]
    for name in attention.mechanism_names():
        if attention.is_plugin(name):
            yield from attention.list_code_files(name).values()


def _read_counts(file: Path, state: str) -> dict[str, int | str]:
    """Return the counts (or why there is none) of a file; none if it is missing, damaged or of another state."""
    try:
        tree: Any = json.loads(file.read_text(encoding="utf-8"))
        return dict(tree["counts"]) if tree["state"] == state else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _find_shipped_count(name: str, recipe: Recipe, images: ImageSpec) -> int | str | None:
    """Return the count that attncli brings, or why there is none; None if it brings neither."""
    counts = find_shipped_counts(recipe.model, (images.size, images.size), images.classes, images.frames)
    if counts is not None and name in SHIPPED_NAMES:
        return counts[SHIPPED_NAMES[name]]
    return find_literature_count(name, recipe.model, images)


def _count_now(name: str, recipe: Recipe, images: ImageSpec) -> int | str:
    """Return a count made now, or why it cannot be made. Loads torch."""
    from attncli.measure.cost import QUANTITIES
    from attncli.model import InputSpec

    try:
        return QUANTITIES[name](recipe, InputSpec(images.classes, (images.size, images.size), images.frames))
    except UserError as error:
        return error.problem
