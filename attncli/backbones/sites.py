"""Where a mechanism goes in a network: the blocks that get it, and the places that each site has in them.

A mechanism is put in place by wrapping or replacing a submodule of the finished network. The network's own tensors
keep their values and their names, except for a `.host` in the name of a wrapped submodule.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

from torch import nn

from attncli.attention import Mechanism
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

Module = TypeVar("Module")
BUILT_IN = "built-in "
NONE_BUILT_IN = "`attncli ls backbones` shows which have; leave model.replace out to add the mechanism to the network"
MAP_SITES = ("gate", "pre-norm", "conv-input", "mid", "block-input", "stage", "head", "input")


@dataclass(frozen=True)
class PlacementRequest:
    """What decides where a mechanism goes in a network.

    `paper_site` is the site of its paper in this network (`backbones.get_paper_site`). `site`, `stages` and `blocks`
    of a recipe move it elsewhere; None leaves it there. With `replace` it takes the place of the attention of that
    name that the network has built in. `size` is (H, W) of the images, `frames` the length of clips.
    """

    mechanism: Mechanism
    paper_site: str
    size: tuple[int, int]
    classes: int
    frames: int | None = None
    site: str | None = None
    stages: Sequence[int] | None = None
    blocks: Sequence[int] | None = None
    replace: str | None = None

    @property
    def chosen_site(self) -> str:
        """The site where the mechanism goes."""
        return f"{BUILT_IN}{self.replace}" if self.replace else self.site or self.paper_site


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


def is_map_site(site: str) -> bool:
    """Return whether a site passes a map and expects one of the same shape: such sites exchange mechanisms."""
    return site in MAP_SITES or site.startswith(BUILT_IN)


def list_available_sites(net: nn.Module, structure: NetworkStructure, size: tuple[int, int]) -> tuple[str, ...]:
    """Return the sites that a network has in at least one block, for images of `size`; `built-in se` among them."""
    context = _SiteContext(net, structure, list(structure.blocks), trace_shapes(net, size), "all", False, False)
    return tuple(site for site, place_at_site in _SITES.items() if any(True for _ in place_at_site(context)))


def remove_built_in_attention(net: nn.Module, structure: NetworkStructure, attention_name: str) -> None:
    """Remove the attention that is built into the network from all its blocks. Raises UserError if there is none."""
    built_in = [b.se for b in structure.blocks if b.se]
    if not built_in:
        raise UserError(f"model.replace: {attention_name}: the network has none built in", NONE_BUILT_IN)
    for path in built_in:
        net.set_submodule(path, nn.Identity())


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
    context = _SiteContext(
        net,
        structure,
        select_blocks(structure, request),
        shapes or trace_shapes(net, request.size, request.frames or 1),
        card.convs,
        card.replaces_norm,
        has_chosen_blocks=bool(request.stages or request.blocks),
    )
    common_arguments = {"frames": request.frames, "classes": request.classes}
    placements = [replace(p, site_arguments={**common_arguments, **p.site_arguments}) for p in _SITES[site](context)]
    if not placements:
        if request.replace and not any(b.se for b in structure.blocks):
            raise UserError(f"model.replace: {request.replace}: the network has none built in", NONE_BUILT_IN)
        raise UserError(f"model.site: {site}: none of the chosen blocks has it", "choose other blocks or another site")
    return placements


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


def select_blocks(structure: NetworkStructure, request: PlacementRequest) -> list[BlockPaths]:
    """Return the blocks that a recipe names, or else those of the mechanism's card.

    Raises UserError for a stage or block that the network lacks, or if no block is left.
    """
    mechanism, stages, blocks = request.mechanism, request.stages, request.blocks
    if structure.unclear:
        raise UserError(f"model.attn: '{mechanism.name}': {structure.unclear.problem}", structure.unclear.hint)
    if not structure.blocks:
        raise UserError(
            f"model.attn: '{mechanism.name}': the network has no blocks with spatial convolutions to put it in"
            + (f"; it has {structure.remarks}" if structure.remarks else ""),
            "use it with --attn none; `attncli help backbones` says how blocks are found",
        )
    _check_numbers("stages", stages, structure.stage_count, "the network")
    _check_numbers("blocks", blocks, max(b.index for b in structure.blocks), "its longest stage")
    card, is_cifar = mechanism.card, structure.stage_count == 3
    at_paper_site = request.chosen_site == request.paper_site
    takes_whole_last_stage = card.whole_last_stage and at_paper_site and blocks is None
    if at_paper_site and stages is None:
        stages = card.cifar_stages if is_cifar and card.cifar_stages else card.stages
    if at_paper_site and blocks is None:
        blocks = card.cifar_blocks if is_cifar and card.cifar_blocks else card.blocks
    selected = [
        b
        for b in structure.blocks
        if _is_among(b.stage, stages, structure.stage_count)
        and (
            (takes_whole_last_stage and b.stage == structure.stage_count)
            or _is_among(b.index, blocks, max(o.index for o in structure.blocks if o.stage == b.stage))
        )
    ]
    if not selected:
        raise UserError(
            f"model.stages={stages}, model.blocks={blocks}: no block of the network is left",
            f"it has {structure.stage_count} stages; both count from 1, or from the end with negative numbers",
        )
    return selected


def _check_numbers(option: str, chosen: Sequence[int] | None, count: int, owner: str) -> None:
    """Raise UserError for numbers in a recipe that the network does not have."""
    unknown = [n for n in chosen or () if not 1 <= abs(n) <= count]
    if unknown:
        raise UserError(
            f"model.{option}: {', '.join(map(str, unknown))}: {owner} has {count} {option}",
            "they count from 1, or from the end with negative numbers",
        )


def _is_among(position: int, chosen: Sequence[int] | None, count: int) -> bool:
    return chosen is None or position in chosen or position - count - 1 in chosen


@dataclass(frozen=True)
class _SiteContext:
    """What the sites look at; `convs` and `replaces_norm` as in a card, `has_chosen_blocks` if a recipe names them."""

    net: nn.Module
    structure: NetworkStructure
    blocks: list[BlockPaths]
    shapes: ModuleShapes
    convs: str
    replaces_norm: bool
    has_chosen_blocks: bool


Placements = Iterator[Placement]


def _describe_map(shape: TensorShape, stage: int) -> dict[str, Any]:
    return {"channels": shape[1], "size": tuple(shape[2:]), "stage": stage}


def _place_before(context: _SiteContext, path: str | None, stage: int) -> Placements:
    """Yield the place before the submodule at `path`, if there is one."""
    if path:
        yield Placement(path, _describe_map(context.shapes[path][0], stage), insert_before(path), "before")


def _place_after(context: _SiteContext, path: str | None, stage: int) -> Placements:
    """Yield the place after the submodule at `path`, if there is one."""
    if path:
        yield Placement(path, _describe_map(context.shapes[path][1], stage), insert_after(path), "after")


def _at_each_block(
    place: Callable[[_SiteContext, str | None, int], Placements], find_path: Callable[[BlockPaths], str | None]
) -> Callable[[_SiteContext], Placements]:
    """Return the site that lies before or after (`place`) the submodule that `find_path` names in each block."""

    def place_at_blocks(context: _SiteContext) -> Placements:
        for block in context.blocks:
            yield from place(context, find_path(block), block.stage)

    return place_at_blocks


def _last_spatial_conv(block: BlockPaths) -> str | None:
    return block.convs[-1] if block.convs else None


def _place_at_built_in(context: _SiteContext) -> Placements:
    for b in context.blocks:
        if b.se:
            yield Placement(b.se, _describe_map(context.shapes[b.se][0], b.stage), insert_instead(b.se))


def _place_at_head(context: _SiteContext) -> Placements:
    return _place_before(context, context.structure.pool, context.structure.stage_count)


def _place_at_input(context: _SiteContext) -> Placements:
    return _place_before(context, context.structure.stem, 1)


def _place_at_conv(context: _SiteContext) -> Placements:
    conv_slice = {"all": slice(None), "first": slice(0, 1), "last": slice(-1, None)}[context.convs]
    for b in context.blocks:
        for path, norm in list(zip(b.convs, b.norms, strict=True))[conv_slice]:
            conv = context.net.get_submodule(path)
            if not isinstance(conv, nn.Conv2d) or conv.kernel_size != (3, 3):
                continue  # a mechanism in place of a convolution is 3x3
            insert = insert_instead(path, norm if context.replaces_norm else None)
            yield Placement(path, _describe_conv(context, path, conv, b.stage), insert)


def _describe_conv(context: _SiteContext, path: str, conv: nn.Conv2d, stage: int) -> dict[str, Any]:
    return {
        "channels_in": conv.in_channels,
        "channels": conv.out_channels,
        "stride": conv.stride[0],
        "groups": conv.groups,
        "size": context.shapes[path][0][2:],
        "stage": stage,
    }


def _place_at_branch_convs(context: _SiteContext) -> Placements:
    """Yield the place of every convolution of the residual branches whose map the mechanism can return."""
    for b in context.blocks:
        for path, conv in _list_branch_convs(context, b):
            side = conv.kernel_size[0]
            keeps_size = conv.padding == (side // 2, side // 2) and conv.dilation == (1, 1)
            if conv.kernel_size == (side, side) and side % 2 and keeps_size:
                site_arguments = _describe_conv(context, path, conv, b.stage)
                yield Placement(path, site_arguments, insert_instead(path), options={"kernel": side})


def _list_branch_convs(context: _SiteContext, block: BlockPaths) -> Iterator[tuple[str, nn.Conv2d]]:
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


def _place_at_conv_input(context: _SiteContext) -> Placements:
    """Yield the place before every convolution, stem and shortcuts included; only in the blocks that a recipe names.

    The two convolutions of a built-in squeeze-and-excitation see no map and do not count.
    """
    excitations = tuple(f"{b.se}." for b in context.structure.blocks if b.se)
    for path, conv in list(context.net.named_modules()):
        block = next((b for b in context.blocks if f"{path}.".startswith(f"{b.path}.")), None)
        is_chosen = block is not None or not context.has_chosen_blocks
        if isinstance(conv, nn.Conv2d) and is_chosen and not path.startswith(excitations):
            yield from _place_before(context, path, block.stage if block else 1)


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
    path = context.structure.classifier
    yield Placement(path, {"channels": context.shapes[path][0][1]}, insert_instead(path))


_SITES: dict[str, Callable[[_SiteContext], Placements]] = {
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
