"""The places of a network where a mechanism goes, and putting it there.

A mechanism is put in place by wrapping or replacing a submodule of the finished network: the network's own
tensors keep their values, and their names but for a `.host` where a submodule is wrapped.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from attncli.attention import Mechanism
from attncli.backbones.choose import select_blocks
from attncli.backbones.structure import BlockPaths, NetworkStructure
from attncli.backbones.surgery import (
    Insertion,
    ModuleShapes,
    TensorShape,
    insert_after,
    insert_before,
    insert_instead,
    trace_shapes,
)
from attncli.errors import UserError

BUILT_IN = "built-in "
NONE_BUILT_IN = "`attncli ls backbones` shows which have; leave model.replace out to add the mechanism to the network"
MAP_SITES = ("gate", "pre-norm", "conv-input", "mid", "block-input", "stage", "head", "input")


@dataclass(frozen=True)
class Placement:
    """One position: the submodule concerned, the facts of the place, and how to put a mechanism there."""

    path: str
    site_arguments: dict[str, Any]
    insert: Insertion


def classify_site(site: str) -> str:
    """What a site passes: sites of one kind take each other's mechanisms."""
    return "map" if site in MAP_SITES or site.startswith(BUILT_IN) else site


def list_available_sites(net: nn.Module, structure: NetworkStructure, size: tuple[int, int]) -> tuple[str, ...]:
    """The sites that a network has in at least one block, for images of `size`; `built-in se` among them."""
    context = _SiteContext(net, structure, list(structure.blocks), trace_shapes(net, size), "all", False, False)
    return tuple(site for site, place_at_site in _SITES.items() if any(True for _ in place_at_site(context)))


def remove_built_in_attention(net: nn.Module, structure: NetworkStructure, attention_name: str) -> None:
    """Take the attention that is built into the network out of all its blocks. Raises UserError where there is none."""
    built_in = [b.se for b in structure.blocks if b.se]
    if not built_in:
        raise UserError(f"model.replace: {attention_name}: the network has none built in", NONE_BUILT_IN)
    for path in built_in:
        net.set_submodule(path, nn.Identity())


def find_placements(
    net: nn.Module,
    structure: NetworkStructure,
    mechanism: Mechanism,
    *,
    size: tuple[int, int],
    classes: int,
    paper_site: str | None = None,
    site: str | None = None,
    stages: Sequence[int] | None = None,
    blocks: Sequence[int] | None = None,
    frames: int | None = None,
    replace: str | None = None,
) -> list[Placement]:
    """Where `mechanism` goes in `net`: at its own site and blocks unless `site`, `stages` or `blocks` move it.

    `paper_site` is that of its paper in this network (`backbones.get_paper_site`), None that of its card. With
    `replace` it
    goes where the attention of that name is built into the network, in all blocks or those that are named.
    Raises UserError where the site is of another kind than the mechanism's own, or no block is left.
    """
    card = mechanism.card
    if replace:
        site = f"{BUILT_IN}{replace}"
    paper_site = paper_site or card.site
    chosen = site or paper_site
    if classify_site(chosen) != classify_site(card.site):
        fitting = MAP_SITES if classify_site(card.site) == "map" else (card.site,)
        raise UserError(
            f"model.site: {chosen}: '{mechanism.name}' is written for the site {card.site}",
            f"it can go to: {', '.join(fitting)}",
        )
    at_paper_site = chosen == paper_site
    chosen_blocks = select_blocks(structure, mechanism, stages, blocks, at_paper_site)
    common_arguments = {"frames": frames, "classes": classes}
    has_chosen_blocks = bool(stages or blocks)
    module_shapes = trace_shapes(net, size, frames or 1)
    context = _SiteContext(
        net, structure, chosen_blocks, module_shapes, card.convs, card.replaces_norm, has_chosen_blocks
    )
    placements = [
        Placement(p.path, {**common_arguments, **p.site_arguments}, p.insert) for p in _SITES[chosen](context)
    ]
    if not placements:
        if replace and not any(b.se for b in structure.blocks):
            raise UserError(f"model.replace: {replace}: the network has none built in", NONE_BUILT_IN)
        raise UserError(
            f"model.site: {chosen}: none of the chosen blocks has it", "choose other blocks or another site"
        )
    return placements


@dataclass(frozen=True)
class _SiteContext:
    """What the sites look at; `convs` and `replaces_norm` as in a card, `has_chosen_blocks` where a recipe names the
    blocks.
    """

    net: nn.Module
    structure: NetworkStructure
    blocks: list[BlockPaths]
    shapes: ModuleShapes
    convs: str
    replaces_norm: bool
    has_chosen_blocks: bool


Placements = Iterator[Placement]


def _make_map_placement(path: str, shape: TensorShape, put: Insertion, stage: int) -> Placement:
    return Placement(path, {"channels": shape[1], "size": tuple(shape[2:]), "stage": stage}, put)


def _place_at_gate(context: _SiteContext) -> Placements:
    return (
        _make_map_placement(b.branch_end, context.shapes[b.branch_end][1], insert_after(b.branch_end), b.stage)
        for b in context.blocks
        if b.branch_end
    )


def _place_at_pre_norm(context: _SiteContext) -> Placements:
    return (
        _make_map_placement(b.convs[-1], context.shapes[b.convs[-1]][1], insert_after(b.convs[-1]), b.stage)
        for b in context.blocks
        if b.convs
    )


def _place_at_mid(context: _SiteContext) -> Placements:
    return (
        _make_map_placement(b.last_conv, context.shapes[b.last_conv][0], insert_before(b.last_conv), b.stage)
        for b in context.blocks
        if b.last_conv and b.widens
    )


def _place_at_block_input(context: _SiteContext) -> Placements:
    return (
        _make_map_placement(b.input_path, context.shapes[b.input_path][0], insert_before(b.input_path), b.stage)
        for b in context.blocks
        if b.input_path
    )


def _place_at_stage(context: _SiteContext) -> Placements:
    return (
        _make_map_placement(b.output_path, context.shapes[b.output_path][1], insert_after(b.output_path), b.stage)
        for b in context.blocks
        if b.output_path
    )


def _place_at_frames(context: _SiteContext) -> Placements:
    return (
        _make_map_placement(b.convs[-1], context.shapes[b.convs[-1]][0], insert_before(b.convs[-1]), b.stage)
        for b in context.blocks
        if b.convs
    )


def _place_at_built_in(context: _SiteContext) -> Placements:
    return (
        _make_map_placement(b.se, context.shapes[b.se][0], insert_instead(b.se), b.stage)
        for b in context.blocks
        if b.se
    )


def _place_at_head(context: _SiteContext) -> Placements:
    if context.structure.pool:
        yield _make_map_placement(
            context.structure.pool,
            context.shapes[context.structure.pool][0],
            insert_before(context.structure.pool),
            context.structure.stage_count,
        )


def _place_at_input(context: _SiteContext) -> Placements:
    yield _make_map_placement(
        context.structure.stem, context.shapes[context.structure.stem][0], insert_before(context.structure.stem), 1
    )


def _place_at_conv(context: _SiteContext) -> Placements:
    conv_slice = {"all": slice(None), "first": slice(0, 1), "last": slice(-1, None)}[context.convs]
    for b in context.blocks:
        for path, norm in list(zip(b.convs, b.norms, strict=True))[conv_slice]:
            conv = context.net.get_submodule(path)
            if not isinstance(conv, nn.Conv2d) or conv.kernel_size != (3, 3):
                continue  # a mechanism in place of a convolution is 3x3
            site_arguments = {
                "channels_in": conv.in_channels,
                "channels": conv.out_channels,
                "stride": conv.stride[0],
                "groups": conv.groups,
                "size": context.shapes[path][0][2:],
                "stage": b.stage,
            }
            yield Placement(path, site_arguments, insert_instead(path, norm if context.replaces_norm else None))


def _place_at_conv_input(context: _SiteContext) -> Placements:
    """Every convolution, stem and shortcuts among them, or where a recipe names blocks those in the blocks.

    The two that a built-in squeeze-and-excitation is made of see no map and do not count.
    """
    excitations = tuple(f"{b.se}." for b in context.structure.blocks if b.se)
    for path, conv in list(context.net.named_modules()):
        block = next((b for b in context.blocks if f"{path}.".startswith(f"{b.path}.")), None)
        if (
            isinstance(conv, nn.Conv2d)
            and (block is not None or not context.has_chosen_blocks)
            and not path.startswith(excitations)
        ):
            yield _make_map_placement(path, context.shapes[path][0], insert_before(path), block.stage if block else 1)


def _place_at_join(context: _SiteContext) -> Placements:
    for b in (b for b in context.blocks if b.shortcut and context.structure.join):
        input_shape, output_shape = context.shapes[b.path]
        site_arguments = {
            "channels_in": input_shape[1],
            "channels": output_shape[1],
            "stride": -(-input_shape[2] // output_shape[2]),
            "size": input_shape[2:],
            "stage": b.stage,
        }
        yield Placement(b.path, site_arguments, _insert_at_sum(context.structure, b.path))


def _insert_at_sum(structure: NetworkStructure, path: str) -> Insertion:
    def replace_sum(net: nn.Module, attn: nn.Module) -> None:
        assert structure.join is not None
        structure.join(net.get_submodule(path), attn)

    return replace_sum


def _place_at_frames_head(context: _SiteContext) -> Placements:
    yield Placement(
        context.structure.classifier,
        {"channels": context.shapes[context.structure.classifier][0][1]},
        insert_instead(context.structure.classifier),
    )


_SITES: dict[str, Callable[[_SiteContext], Placements]] = {
    "gate": _place_at_gate,
    "pre-norm": _place_at_pre_norm,
    "conv": _place_at_conv,
    "conv-input": _place_at_conv_input,
    "mid": _place_at_mid,
    "block-input": _place_at_block_input,
    "join": _place_at_join,
    "stage": _place_at_stage,
    "head": _place_at_head,
    "input": _place_at_input,
    "frames": _place_at_frames,
    "frames-head": _place_at_frames_head,
    f"{BUILT_IN}se": _place_at_built_in,
}
