"""Exact counts that attncli brings, so that nothing is built to look them up.

They are of every mechanism on the common backbones, and of the networks that claims and published figures name.

A count is used only if it was made by the code and the libraries that are installed here, so it is never stale: the
file names the code that all networks share, the code of each mechanism, and the versions of torch and torchvision.
`python -m tests.generate` writes it. For its `speeds` see `attncli.analysis.shipped_speeds`.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attncli import attention
from attncli.analysis.network_key import ImageSpec, make_image_network_key, make_network_key
from attncli.analysis.shipped_speeds import SpeedRecord
from attncli.attention import NONE
from attncli.errors import UserError
from attncli.measure.code_state import strip_comments
from attncli.recipe import Model, Recipe, library
from attncli.records import Cost
from attncli.system.local_imports import find_sibling_modules
from attncli.system.source_inspection import read_source

if TYPE_CHECKING:  # it loads torch
    from attncli.model import InputSpec

FORMAT = 2
FILE_NAME = "overheads.json"
PACKAGE = Path(__file__).parents[1]
COUNTING_MODULES = (
    "activation_memory", "attention_calls", "cost", "fake_tensors", "flops", "mac_formulas",
)  # fmt: skip
LIBRARIES = ("torch", "torchvision")
USUAL_IMAGES = {  # classes, and side of the images in pixels
    "mobilenet_v2": (1000, 224),
    "resnet18": (1000, 224),
    "resnet20": (10, 32),
    "resnet50": (1000, 224),
}
QUANTITIES = ("params", "macs", "elementwise", "activation_bytes")  # the order of the figures in the file


@dataclass(frozen=True)
class ShippedOverheads:
    """The content of the file: figures by network and mechanism, and the code that counted them."""

    made_with: Mapping[str, str]  # versions and date
    shared_code: str
    mechanism_code: Mapping[str, str]
    counts: Mapping[str, Mapping[str, list[int]]]  # by `name_network`, then by mechanism, in the order of QUANTITIES
    refusals: Mapping[str, Mapping[str, str]]  # why a mechanism does not fit
    literature_counts: Mapping[str, Mapping[str, int | str]]  # by `make_image_network_key`, then by quantity
    speeds: tuple[SpeedRecord, ...] = ()

    def is_current(self, attn: str) -> bool:
        """Return whether the code that counts, that of the mechanism and the libraries are those of the file."""
        if self.shared_code != hash_shared_code():
            return False
        if attn == NONE:
            return True
        return attn in self.mechanism_code and self.mechanism_code[attn] == hash_mechanism_code(attn)

    def find_counts(self, attn: str, network: str) -> dict[str, int] | None:
        """Return the figures of a mechanism in its default form, or None if there are none that hold here."""
        figures = self.counts.get(network, {}).get(attn)
        if figures is None or not self.is_current(attn):
            return None
        return dict(zip(QUANTITIES, figures, strict=True))


def name_network(backbone: str, size: tuple[int, int], classes: int, frames: int | None = None) -> str:
    """Return the key of a backbone with its images in the file: height and width, classes, and frames of a clip."""
    return f"{backbone} {size[0]}x{size[1]} {classes}" + (f" {frames}" if frames else "")


def find_shipped_counts(
    model: Model, size: tuple[int, int], classes: int, frames: int | None = None
) -> dict[str, int] | None:
    """Return the figures of `QUANTITIES` that attncli brings of a network for one image, or clip.

    None if the file has none of this very network, or if they were counted by other code or with other libraries.
    """
    overheads = read_shipped_overheads()
    network = name_network(model.backbone, size, classes, frames)
    if overheads is None or model.attn not in overheads.counts.get(network, {}) or not _is_default_form(model):
        return None
    return overheads.find_counts(model.attn, network)


def find_literature_count(name: str, model: Model, images: ImageSpec) -> int | str | None:
    """Return a quantity of a network that claims or published figures name, or why it cannot be built.

    None if the file does not have it, or if it was counted by other code or with other libraries.
    """
    overheads = read_shipped_overheads()
    if overheads is None or not overheads.is_current(model.attn):
        return None
    return overheads.literature_counts.get(make_image_network_key(model, images), {}).get(name)


def find_shipped_cost(recipe: Recipe, shape: "InputSpec") -> Cost | None:
    """Return the cost of a recipe's network and its baseline from the file, or None if it has not both."""
    own, plain = (
        find_shipped_counts(r.model, shape.size, shape.classes, shape.frames) for r in (recipe, recipe.make_baseline())
    )
    if own is None or plain is None:
        return None
    return Cost(**own, **{f"baseline_{name}": count for name, count in plain.items()}, image_size=max(shape.size))


def _is_default_form(model: Model) -> bool:
    try:
        return make_network_key(model) == make_network_key(Model(backbone=model.backbone, attn=model.attn))
    except UserError:
        return False


def locate_file() -> Path:
    """Return the file of the overheads that attncli brings."""
    return library.find_shipped_folder() / library.RESULTS_FOLDER / FILE_NAME


@cache
def read_shipped_overheads(path: Path | None = None) -> ShippedOverheads | None:
    """Return the content of the file; None if it is missing, damaged, or of a later format."""
    try:
        tree: dict[str, Any] = json.loads((path or locate_file()).read_text(encoding="utf-8"))
        if tree.pop("format") != FORMAT:
            return None
        speeds = tuple(SpeedRecord(**record) for record in tree.pop("speeds"))
        return ShippedOverheads(**tree, speeds=speeds)
    except (OSError, ValueError, KeyError, TypeError):
        return None


@cache
def hash_shared_code(package: Path = PACKAGE) -> str:
    """Return a hash of what decides every count but a mechanism's own code; comments do not matter."""
    digest = hashlib.sha256()
    for file in _list_shared_files(package):
        digest.update(f"{file.name} {strip_comments(file.read_text(encoding='utf-8'))}".encode())
    for name in LIBRARIES:
        digest.update(f"{name} {version(name).partition('+')[0]}".encode())
    return digest.hexdigest()[:16]


def _list_shared_files(package: Path) -> Iterable[Path]:
    yield from (package / "measure" / f"{name}.py" for name in COUNTING_MODULES)
    for name in ("backbones", "recipe", "model"):
        yield from sorted((package / name).rglob("*.py"))
    yield from sorted((package / "attention").glob("*.py"))
    yield package / "seeds.py"


@cache
def hash_mechanism_code(attn: str) -> str:
    """Return a hash of a mechanism's own code; comments do not matter."""
    digest = hashlib.sha256()
    for file in attention.list_code_files(attn).values():
        digest.update(strip_comments(read_source(file)).encode())
    return digest.hexdigest()[:16]


@cache
def hash_imported_code(attn: str, package: Path = PACKAGE) -> str:
    """Return a hash of the modules of `attncli.attention` that a mechanism of attncli imports, directly or not.

    Comments do not matter. These modules decide its speed, as its own code does. For its counts they are shared code.
    """
    inner_path = attention.locate_mechanism(attn)[1].relative_to(PACKAGE)
    module_name = ".".join(("attncli", *inner_path.with_suffix("").parts))
    digest = hashlib.sha256()
    for name, file in find_sibling_modules(package / inner_path, module_name, "attncli.attention").items():
        digest.update(f"{name} {strip_comments(file.read_text(encoding='utf-8'))}".encode())
    return digest.hexdigest()[:16]


def summarize_overheads(path: Path) -> dict[str, Any]:
    """Return what the file holds, for a list of files; `current` counts the mechanisms whose figures hold here."""
    overheads = read_shipped_overheads(path)
    if overheads is None:
        return {"kind": "overheads", "mechanisms": 0, "current": 0}
    names = {attn for figures in overheads.counts.values() for attn in figures} - {NONE}
    return {
        "kind": "overheads",
        "backbone": ", ".join(sorted({network.split()[0] for network in overheads.counts})),
        "mechanisms": len(names),
        "current": sum(overheads.is_current(name) for name in names),
        "networks": sum(len(figures) for figures in overheads.counts.values()) + len(overheads.literature_counts),
        "speeds": len(overheads.speeds),
        "torch": overheads.made_with.get("torch", ""),
    }
