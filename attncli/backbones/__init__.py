"""The backbones: found by name in their families' files, without importing torch.

A family is one file with `NAMES`, `build(name, classes, cifar_stem)` and `anatomy(net)`.
"""

import ast
import importlib
from functools import cache
from pathlib import Path
from types import ModuleType

from attncli.attention.card import Card
from attncli.errors import unknown_name_error
from attncli.system import source_inspection

INVERTED_RESIDUAL_FAMILIES = (
    "mobilenet",
    "mobilenet_v3",
    "efficientnet",
    "mnasnet",
)  # families of inverted residuals, where a card's mobile_site holds


@cache
def _find_families() -> dict[str, str]:
    families = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        names_node = (
            source_inspection.find_assignment(source_inspection.parse_source(path), "NAMES")
            if path.stem != "__init__"
            else None
        )
        if names_node is not None:
            families.update(dict.fromkeys(ast.literal_eval(names_node), path.stem))
    return families


TIMM_PREFIX = "timm/"  # what begins the name of a network of timm's


def backbone_names() -> tuple[str, ...]:
    """Every backbone by name."""
    return tuple(_find_families())


def find_family(name: str) -> str:
    """The family (file) of a backbone. Raises UserError for an unknown name, with the nearest known one.

    `timm/NAME` may be any: whether timm has it shows when it is built.
    """
    if name.startswith(TIMM_PREFIX):
        return "timm_networks"
    if name not in _find_families():
        raise unknown_name_error("backbone", name, backbone_names())
    return _find_families()[name]


def load(name: str) -> ModuleType:
    """The module of a backbone's family. Imports torch."""
    return importlib.import_module(f"attncli.backbones.{find_family(name)}")


def get_paper_site(name: str, card: Card) -> str:
    """Where a mechanism's paper puts it in this backbone."""
    return card.mobile_site or card.site if find_family(name) in INVERTED_RESIDUAL_FAMILIES else card.site
