"""The backbones: found by name in their families' files, without importing torch.

A family is one file with `NAMES`, `build(name, classes, cifar_stem)` and `find_structure(net)`, the protocol
`attncli.backbones.structure.BackboneFamily`. `ALIASES`, if there, maps other names to those of `NAMES`.
"""

import ast
import importlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

from attncli.attention.card import Card
from attncli.errors import unknown_name_error
from attncli.system import source_inspection
from attncli.system.code_reference import is_code_reference

if TYPE_CHECKING:  # it imports torch
    from attncli.backbones.structure import BackboneFamily

USER_NETWORKS = "user_networks"  # the family of users' files
TIMM_PREFIX = "timm/"  # begins the names of timm's networks
INVERTED_RESIDUAL_FAMILIES = ("mobilenet", "mobilenet_v3", "efficientnet", "mnasnet")  # a card's mobile_site holds here


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


@cache
def list_backbone_aliases() -> dict[str, str]:
    """Return the names that papers and repositories use, each with the backbone to suggest for it."""
    suggestions: dict[str, str] = {}
    for family in sorted(set(_find_families().values())):
        tree = source_inspection.parse_source(Path(__file__).with_name(f"{family}.py"))
        node = source_inspection.find_assignment(tree, "ALIASES")
        if node is not None:
            suggestions |= {alias: f"'{name}'" for alias, name in ast.literal_eval(node).items()}
    return suggestions


def backbone_names() -> tuple[str, ...]:
    """Return the name of every backbone."""
    return tuple(_find_families())


def list_mobile_backbones() -> tuple[str, ...]:
    """Return the backbones in which a card's `mobile_site` holds."""
    return tuple(name for name, family in _find_families().items() if family in INVERTED_RESIDUAL_FAMILIES)


def find_family(name: str) -> str:
    """Return the family (file) of a backbone. Raises UserError for an unknown name, with the nearest known one.

    Any `timm/NAME` is accepted: whether timm has it is checked when it is built. So is any `FILE.py:NAME`.
    """
    if is_code_reference(name):
        return USER_NETWORKS
    if name.startswith(TIMM_PREFIX):
        return "timm_networks"
    if name not in _find_families():
        raise unknown_name_error("backbone", name, backbone_names(), aliases=list_backbone_aliases())
    return _find_families()[name]


def load(name: str) -> "BackboneFamily":
    """Return the module of a backbone's family. Imports torch."""
    return cast("BackboneFamily", importlib.import_module(f"attncli.backbones.{find_family(name)}"))


def get_paper_site(name: str, card: Card) -> str:
    """Return the site where a mechanism's paper puts it in this backbone."""
    return card.mobile_site or card.site if find_family(name) in INVERTED_RESIDUAL_FAMILIES else card.site
