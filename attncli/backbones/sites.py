"""The places that each site has in a network: `SITE_PLACES` maps the name of a site to the function that finds them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import nn

from attncli.backbones.structure import BlockPaths, NetworkStructure
from attncli.backbones.surgery import (
    Insertion,
    ModuleShapes,
    TensorShape,
    insert_after,
    insert_before,
    insert_instead,
)

BUILT_IN = "built-in "
MAP_SITES = ("gate", "pre-norm", "conv-input", "mid", "block-input", "stage", "head", "input")


@dataclass(frozen=True)
class Placement:
    """One place for a mechanism: the path of the submodule, the constructor arguments, how to put it there.

    `position` says what happens to the submodule: the mechanism stands before or after it, or in its place. `options`
    are those that the place decides, whatever a recipe says.
    """

    path: str
    site_arguments: dict[str, Any]
    insert: Insertion
    position: Literal["before", "after", "instead"] = "instead"
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SiteContext:
    """What the sites look at; `convs` and `replaces_norm` as in a card, `has_chosen_blocks` if a recipe names them."""

    net: nn.Module
    structure: NetworkStructure
    blocks: list[BlockPaths]
    shapes: ModuleShapes
    convs: str
    replaces_norm: bool
    has_chosen_blocks: bool


Placements = Iterator[Placement]


def is_map_site(site: str) -> bool:
    """Return whether a site passes a map and expects one of the same shape: such sites exchange mechanisms."""
    return site in MAP_SITES or site.startswith(BUILT_IN)


def _describe_map(shape: TensorShape, stage: int) -> dict[str, Any]:
    return {"channels": shape[1], "size": tuple(shape[2:]), "stage": stage}


def _place_before(context: SiteContext, path: str | None, stage: int) -> Placements:
    """Yield the place before the submodule at `path`, if there is one."""
    if path:
        yield Placement(path, _describe_map(context.shapes[path][0], stage), insert_before(path), "before")


def _place_after(context: SiteContext, path: str | None, stage: int) -> Placements:
    """Yield the place after the submodule at `path`, if there is one."""
    if path:
        yield Placement(path, _describe_map(context.shapes[path][1], stage), insert_after(path), "after")


def _at_each_block(
    place: Callable[[SiteContext, str | None, int], Placements], find_path: Callable[[BlockPaths], str | None]
) -> Callable[[SiteContext], Placements]:
    """Return the site that lies before or after (`place`) the submodule that `find_path` names in each block."""

    def place_at_blocks(context: SiteContext) -> Placements:
        for block in context.blocks:
            yield from place(context, find_path(block), block.stage)

    return place_at_blocks


def _last_spatial_conv(block: BlockPaths) -> str | None:
    return block.convs[-1] if block.convs else None


def _place_at_built_in(context: SiteContext) -> Placements:
    for b in context.blocks:
        if b.se:
            yield Placement(b.se, _describe_map(context.shapes[b.se][0], b.stage), insert_instead(b.se))


def _place_at_head(context: SiteContext) -> Placements:
    return _place_before(context, context.structure.pool, context.structure.stage_count)


def _place_at_input(context: SiteContext) -> Placements:
    return _place_before(context, context.structure.stem, 1)


def _place_at_conv(context: SiteContext) -> Placements:
    conv_slice = {"all": slice(None), "first": slice(0, 1), "last": slice(-1, None)}[context.convs]
    for b in context.blocks:
        for path, norm in list(zip(b.convs, b.norms, strict=True))[conv_slice]:
            conv = context.net.get_submodule(path)
            if not isinstance(conv, nn.Conv2d) or conv.kernel_size != (3, 3):
                continue  # a mechanism in place of a convolution is 3x3
            insert = insert_instead(path, norm if context.replaces_norm else None)
            yield Placement(path, _describe_conv(context, path, conv, b.stage), insert)


def _describe_conv(context: SiteContext, path: str, conv: nn.Conv2d, stage: int) -> dict[str, Any]:
    return {
        "channels_in": conv.in_channels,
        "channels": conv.out_channels,
        "stride": conv.stride[0],
        "groups": conv.groups,
        "size": context.shapes[path][0][2:],
        "stage": stage,
    }


def _place_at_branch_convs(context: SiteContext) -> Placements:
    """Yield the place of every convolution of the residual branches whose map the mechanism can return."""
    for b in context.blocks:
        for path, conv in _list_branch_convs(context, b):
            side = conv.kernel_size[0]
            keeps_size = conv.padding == (side // 2, side // 2) and conv.dilation == (1, 1)
            if conv.kernel_size == (side, side) and side % 2 and keeps_size:
                site_arguments = _describe_conv(context, path, conv, b.stage)
                yield Placement(path, site_arguments, insert_instead(path), options={"kernel": side})


def _list_branch_convs(context: SiteContext, block: BlockPaths) -> Iterator[tuple[str, nn.Conv2d]]:
    """Yield the convolutions of a block without those of its shortcut and of its built-in attention.

    A convolution from the input of the block to its output that does not end the branch is the shortcut's.
    """
    ends = context.shapes.get(block.path)
    for name, module in context.net.get_submodule(block.path).named_modules():
        path = f"{block.path}.{name}" if name else block.path
        if not isinstance(module, nn.Conv2d) or (block.se and path.startswith(f"{block.se}.")):
            continue
        if path in (*block.convs, block.last_conv) or not block.shortcut or context.shapes[path] != ends:
            yield path, module


def _place_at_conv_input(context: SiteContext) -> Placements:
    """Yield the place before every convolution, stem and shortcuts included; only in the blocks that a recipe names.

    The two convolutions of a built-in squeeze-and-excitation see no map and do not count.
    """
    excitations = tuple(f"{b.se}." for b in context.structure.blocks if b.se)
    for path, conv in list(context.net.named_modules()):
        block = next((b for b in context.blocks if f"{path}.".startswith(f"{b.path}.")), None)
        is_chosen = block is not None or not context.has_chosen_blocks
        if isinstance(conv, nn.Conv2d) and is_chosen and not path.startswith(excitations):
            yield from _place_before(context, path, block.stage if block else 1)


def _place_at_join(context: SiteContext) -> Placements:
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


def _place_at_frames_head(context: SiteContext) -> Placements:
    path = context.structure.classifier
    yield Placement(path, {"channels": context.shapes[path][0][1]}, insert_instead(path))


SITE_PLACES: dict[str, Callable[[SiteContext], Placements]] = {
    "gate": _at_each_block(_place_after, lambda b: b.branch_end),
    "pre-norm": _at_each_block(_place_after, _last_spatial_conv),
    "conv": _place_at_conv,
    "branch-convs": _place_at_branch_convs,
    "conv-input": _place_at_conv_input,
    "mid": _at_each_block(_place_before, lambda b: b.last_conv if b.widens else None),
    "block-input": _at_each_block(_place_before, lambda b: b.input_path),
    "join": _place_at_join,
    "stage": _at_each_block(_place_after, lambda b: b.output_path),
    "head": _place_at_head,
    "input": _place_at_input,
    "frames": _at_each_block(_place_before, _last_spatial_conv),
    "frames-head": _place_at_frames_head,
    f"{BUILT_IN}se": _place_at_built_in,
}
