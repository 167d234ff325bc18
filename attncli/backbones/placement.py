"""Find the places of a mechanism in a network, and the order in which it is put there.

A mechanism is put in place by wrapping or replacing a submodule of the finished network. The network's own tensors
keep their values and their names, except for a `.host` in the name of a wrapped submodule.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from torch import nn

from attncli.backbones.placement_request import PlacementRequest, select_blocks
from attncli.backbones.sites import MAP_SITES, SITE_PLACES, Placement, SiteContext, is_map_site
from attncli.backbones.structure import NetworkStructure
from attncli.backbones.surgery import ModuleShapes, trace_shapes
from attncli.errors import UserError

Module = TypeVar("Module")
NONE_BUILT_IN = "`attncli ls backbones` shows which have; leave model.replace out to add the mechanism to the network"


def find_placements(
    net: nn.Module, structure: NetworkStructure, request: PlacementRequest, shapes: ModuleShapes | None = None
) -> list[Placement]:
    """Return the places in `net` where the mechanism of `request` goes; `shapes` are its shapes, if they are known.

    Raises UserError if the site is of another kind than the mechanism's own, or if no block has it.
    """
    card, site = request.mechanism.card, request.chosen_site
    if site not in (card.site, *card.sites) and not (is_map_site(site) and is_map_site(card.site)):
        fitting = MAP_SITES if is_map_site(card.site) else (card.site, *card.sites)
        raise UserError(
            f"model.site: {site}: '{request.mechanism.name}' is written for the site {card.site}",
            f"it can go to: {', '.join(fitting)}",
        )
    context = SiteContext(
        net,
        structure,
        select_blocks(structure, request),
        shapes or trace_shapes(net, request.size, request.frames or 1),
        card.convs,
        card.replaces_norm,
        has_chosen_blocks=bool(request.stages or request.blocks),
    )
    common_arguments = {"frames": request.frames, "classes": request.classes}
    placements = [
        replace(p, site_arguments={**common_arguments, **p.site_arguments}) for p in SITE_PLACES[site](context)
    ]
    if not placements:
        if request.replace and not any(b.se for b in structure.blocks):
            raise UserError(f"model.replace: {request.replace}: the network has none built in", NONE_BUILT_IN)
        raise UserError(f"model.site: {site}: none of the chosen blocks has it", "choose other blocks or another site")
    return placements


def list_available_sites(net: nn.Module, structure: NetworkStructure, size: tuple[int, int]) -> tuple[str, ...]:
    """Return the sites that a network has in at least one block, for images of `size`; `built-in se` among them."""
    context = SiteContext(net, structure, list(structure.blocks), trace_shapes(net, size), "all", False, False)
    return tuple(site for site, place_at_site in SITE_PLACES.items() if any(True for _ in place_at_site(context)))


def order_insertions(attn: str, placed: Sequence[tuple[Placement, Module]]) -> list[tuple[Placement, Module]]:
    """Return places and modules in the order in which they can be put into the network.

    Replacements come first, as they would throw away what stands at their place, then inner places before outer ones,
    whose paths would change. At one place the maps pass the modules in the order of `placed`.

    Raises UserError if two mechanisms replace the same submodule.
    """
    replacements = [item for item in placed if item[0].position == "instead"]
    paths = [placement.path for placement, _ in replacements]
    for path in paths:
        if paths.count(path) > 1:
            raise UserError(
                f"model.attn: '{attn}': two mechanisms take the place of {path}",
                "combine mechanisms of different sites",
            )
    before = [item for item in reversed(placed) if item[0].position == "before"]
    after = [item for item in placed if item[0].position == "after"]
    wrappers = sorted([*before, *after], key=lambda item: -item[0].path.count("."))
    return [*replacements, *wrappers]


def remove_built_in_attention(net: nn.Module, structure: NetworkStructure, attention_name: str) -> None:
    """Remove the attention that is built into the network from all its blocks. Raises UserError if there is none."""
    built_in = [b.se for b in structure.blocks if b.se]
    if not built_in:
        raise UserError(f"model.replace: {attention_name}: the network has none built in", NONE_BUILT_IN)
    for path in built_in:
        net.set_submodule(path, nn.Identity())
