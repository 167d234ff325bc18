"""The backbones: found by name in their families' files, without importing torch.

A family is one file with `NAMES`, `build(name, classes, cifar_stem)` and `anatomy(net)`.
"""

import ast
import importlib
from functools import cache
from pathlib import Path
from types import ModuleType

from attncli import source
from attncli.attention.card import Card
from attncli.errors import unknown

MOBILE = (
    "mobilenet",
    "mobilenet_v3",
    "efficientnet",
    "mnasnet",
)  # families of inverted residuals, where a card's mobile_site holds


@cache
def _families() -> dict[str, str]:
    found = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        listed = source.assigned(source.parse(path), "NAMES") if path.stem != "__init__" else None
        if listed is not None:
            found.update(dict.fromkeys(ast.literal_eval(listed), path.stem))
    return found


TIMM = "timm/"  # what begins the name of a network of timm's


def names() -> tuple[str, ...]:
    """Every backbone by name."""
    return tuple(_families())


def family(name: str) -> str:
    """The family (file) of a backbone. Raises UserError for an unknown name, with the nearest known one.

    `timm/NAME` may be any: whether timm has it shows when it is built.
    """
    if name.startswith(TIMM):
        return "timm_networks"
    if name not in _families():
        raise unknown("backbone", name, names())
    return _families()[name]


def load(name: str) -> ModuleType:
    """The module of a backbone's family. Imports torch."""
    return importlib.import_module(f"attncli.backbones.{family(name)}")


def own_site(name: str, card: Card) -> str:
    """Where a mechanism's paper puts it in this backbone."""
    return card.mobile_site or card.site if family(name) in MOBILE else card.site
