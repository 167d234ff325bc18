"""The places of a network where a mechanism goes, and putting it there.

A mechanism is put in place by wrapping or replacing a submodule of the finished network: the network's own
tensors keep their values, and their names but for a `.host` where a submodule is wrapped.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from attncli.attention import Mechanism
from attncli.backbones.anatomy import Anatomy, Block
from attncli.backbones.choose import selected
from attncli.backbones.insert import Put, Shape, Shapes, after, before, instead, shapes
from attncli.errors import UserError

BUILT_IN = "built-in "
NONE_BUILT_IN = "`attncli ls backbones` shows which have; leave model.replace out to add the mechanism to the network"
MAP_SITES = ("gate", "pre-norm", "conv-input", "mid", "block-input", "stage", "head", "input")


@dataclass(frozen=True)
class Place:
    """One position: the submodule concerned, the facts of the place, and how to put a mechanism there."""

    path: str
    facts: dict[str, Any]
    put: Put


def kind(site: str) -> str:
    """What a site passes: sites of one kind take each other's mechanisms."""
    return "map" if site in MAP_SITES or site.startswith(BUILT_IN) else site


def available(net: nn.Module, anatomy: Anatomy, size: tuple[int, int]) -> tuple[str, ...]:
    """The sites that a network has in at least one block, for images of `size`; `built-in se` among them."""
    target = _Target(net, anatomy, list(anatomy.blocks), shapes(net, size), "all", False, False)
    return tuple(site for site, places in _SITES.items() if any(True for _ in places(target)))


def remove(net: nn.Module, anatomy: Anatomy, what: str) -> None:
    """Take the attention that is built into the network out of all its blocks. Raises UserError where there is none."""
    built_in = [b.se for b in anatomy.blocks if b.se]
    if not built_in:
        raise UserError(f"model.replace: {what}: the network has none built in", NONE_BUILT_IN)
    for path in built_in:
        net.set_submodule(path, nn.Identity())


def places(
    net: nn.Module,
    anatomy: Anatomy,
    mechanism: Mechanism,
    *,
    size: tuple[int, int],
    classes: int,
    own_site: str | None = None,
    site: str | None = None,
    stages: Sequence[int] | None = None,
    blocks: Sequence[int] | None = None,
    frames: int | None = None,
    replace: str | None = None,
) -> list[Place]:
    """Where `mechanism` goes in `net`: at its own site and blocks unless `site`, `stages` or `blocks` move it.

    `own_site` is that of its paper in this network (`backbones.own_site`), None that of its card. With `replace` it
    goes where the attention of that name is built into the network, in all blocks or those that are named.
    Raises UserError where the site is of another kind than the mechanism's own, or no block is left.
    """
    card = mechanism.card
    if replace:
        site = f"{BUILT_IN}{replace}"
    own_site = own_site or card.site
    chosen = site or own_site
    if kind(chosen) != kind(card.site):
        fitting = MAP_SITES if kind(card.site) == "map" else (card.site,)
        raise UserError(
            f"model.site: {chosen}: '{mechanism.name}' is written for the site {card.site}",
            f"it can go to: {', '.join(fitting)}",
        )
    own_place = chosen == own_site
    chosen_blocks = selected(anatomy, mechanism, stages, blocks, own_place)
    common = {"frames": frames, "classes": classes}
    moved = bool(stages or blocks)
    seen = shapes(net, size, frames or 1)
    target = _Target(net, anatomy, chosen_blocks, seen, card.convs, card.replaces_norm, moved)
    found = [Place(p.path, {**common, **p.facts}, p.put) for p in _SITES[chosen](target)]
    if not found:
        if replace and not any(b.se for b in anatomy.blocks):
            raise UserError(f"model.replace: {replace}: the network has none built in", NONE_BUILT_IN)
        raise UserError(
            f"model.site: {chosen}: none of the chosen blocks has it", "choose other blocks or another site"
        )
    return found


@dataclass(frozen=True)
class _Target:
    """What the sites look at; `convs` and `replaces_norm` as in a card, `moved` where a recipe names the blocks."""

    net: nn.Module
    anatomy: Anatomy
    blocks: list[Block]
    shapes: Shapes
    convs: str
    replaces_norm: bool
    moved: bool


Found = Iterator[Place]


def _map(path: str, shape: Shape, put: Put, stage: int) -> Place:
    return Place(path, {"channels": shape[1], "size": tuple(shape[2:]), "stage": stage}, put)


def _gate(t: _Target) -> Found:
    return (_map(b.end, t.shapes[b.end][1], after(b.end), b.stage) for b in t.blocks if b.end)


def _pre_norm(t: _Target) -> Found:
    return (_map(b.convs[-1], t.shapes[b.convs[-1]][1], after(b.convs[-1]), b.stage) for b in t.blocks if b.convs)


def _mid(t: _Target) -> Found:
    return (
        _map(b.last_conv, t.shapes[b.last_conv][0], before(b.last_conv), b.stage)
        for b in t.blocks
        if b.last_conv and b.widens
    )


def _block_input(t: _Target) -> Found:
    return (_map(b.first, t.shapes[b.first][0], before(b.first), b.stage) for b in t.blocks if b.first)


def _stage(t: _Target) -> Found:
    return (_map(b.last, t.shapes[b.last][1], after(b.last), b.stage) for b in t.blocks if b.last)


def _frames(t: _Target) -> Found:
    return (_map(b.convs[-1], t.shapes[b.convs[-1]][0], before(b.convs[-1]), b.stage) for b in t.blocks if b.convs)


def _built_in(t: _Target) -> Found:
    return (_map(b.se, t.shapes[b.se][0], instead(b.se), b.stage) for b in t.blocks if b.se)


def _head(t: _Target) -> Found:
    if t.anatomy.pool:
        yield _map(t.anatomy.pool, t.shapes[t.anatomy.pool][0], before(t.anatomy.pool), t.anatomy.stages)


def _input(t: _Target) -> Found:
    yield _map(t.anatomy.stem, t.shapes[t.anatomy.stem][0], before(t.anatomy.stem), 1)


def _conv(t: _Target) -> Found:
    which = {"all": slice(None), "first": slice(0, 1), "last": slice(-1, None)}[t.convs]
    for b in t.blocks:
        for path, norm in list(zip(b.convs, b.norms, strict=True))[which]:
            conv = t.net.get_submodule(path)
            if not isinstance(conv, nn.Conv2d) or conv.kernel_size != (3, 3):
                continue  # a mechanism in place of a convolution is 3x3
            facts = {
                "channels_in": conv.in_channels,
                "channels": conv.out_channels,
                "stride": conv.stride[0],
                "groups": conv.groups,
                "size": t.shapes[path][0][2:],
                "stage": b.stage,
            }
            yield Place(path, facts, instead(path, norm if t.replaces_norm else None))


def _conv_input(t: _Target) -> Found:
    """Every convolution, stem and shortcuts among them, or where a recipe names blocks those in the blocks.

    The two that a built-in squeeze-and-excitation is made of see no map and do not count.
    """
    excitations = tuple(f"{b.se}." for b in t.anatomy.blocks if b.se)
    for path, conv in list(t.net.named_modules()):
        inside = next((b for b in t.blocks if f"{path}.".startswith(f"{b.path}.")), None)
        if isinstance(conv, nn.Conv2d) and (inside is not None or not t.moved) and not path.startswith(excitations):
            yield _map(path, t.shapes[path][0], before(path), inside.stage if inside else 1)


def _join(t: _Target) -> Found:
    for b in (b for b in t.blocks if b.shortcut and t.anatomy.join):
        taken, returned = t.shapes[b.path]
        facts = {
            "channels_in": taken[1],
            "channels": returned[1],
            "stride": -(-taken[2] // returned[2]),
            "size": taken[2:],
            "stage": b.stage,
        }
        yield Place(b.path, facts, _joined(t.anatomy, b.path))


def _joined(anatomy: Anatomy, path: str) -> Put:
    def put(net: nn.Module, attn: nn.Module) -> None:
        assert anatomy.join is not None
        anatomy.join(net.get_submodule(path), attn)

    return put


def _frames_head(t: _Target) -> Found:
    yield Place(t.anatomy.classifier, {"channels": t.shapes[t.anatomy.classifier][0][1]}, instead(t.anatomy.classifier))


_SITES: dict[str, Callable[[_Target], Found]] = {
    "gate": _gate,
    "pre-norm": _pre_norm,
    "conv": _conv,
    "conv-input": _conv_input,
    "mid": _mid,
    "block-input": _block_input,
    "join": _join,
    "stage": _stage,
    "head": _head,
    "input": _input,
    "frames": _frames,
    "frames-head": _frames_head,
    f"{BUILT_IN}se": _built_in,
}
