"""The places of a network where a mechanism goes, and putting it there.

A mechanism is put in place by wrapping or replacing a submodule of the finished network: the network's own
tensors keep their values, and their names but for a `.host` where a submodule is wrapped.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from attncli.attention import Mechanism
from attncli.backbones.anatomy import Anatomy, Block
from attncli.errors import UserError

Shape = tuple[int, ...]
Shapes = dict[str, tuple[Shape, Shape]]  # path -> shape of the input and of the output
MAP_SITES = ("gate", "pre-norm", "conv-input", "mid", "block-input", "stage", "head", "input")


@dataclass(frozen=True)
class Place:
    """One position: the submodule concerned, the facts of the place, and how to put a mechanism there."""

    path: str
    facts: dict[str, Any]
    put: Callable[[nn.Module, nn.Module], None]


class Wrapped(nn.Sequential):
    """A submodule of the network (`host`) and the mechanism (`attn`) before, after or in place of it."""


class AverageFrames(nn.Module):
    """Mean over the T frames of a clip, then the classifier: (N*T, C) -> (N, classes)."""

    def __init__(self, classifier: nn.Module, frames: int) -> None:
        super().__init__()
        self.classifier = classifier
        self.frames = frames

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the clips."""
        return self.classifier(x.unflatten(0, (-1, self.frames)).mean(1))


def kind(site: str) -> str:
    """What a site passes: sites of one kind take each other's mechanisms."""
    return "map" if site in MAP_SITES else site


def shapes(net: nn.Module, size: tuple[int, int], images: int = 1) -> Shapes:
    """Input and output shape of every submodule for (images, 3, H, W), found without computing anything."""
    copied = copy.deepcopy(net).to("meta").eval()
    found: Shapes = {}

    def note(path: str) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        def hook(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            found[path] = (tuple(inputs[0].shape), tuple(output.shape))

        return hook

    for path, module in copied.named_modules():
        module.register_forward_hook(note(path))
    with torch.no_grad():
        copied(torch.zeros(images, 3, *size, device="meta"))
    return found


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
) -> list[Place]:
    """Where `mechanism` goes in `net`: at its own site and blocks unless `site`, `stages` or `blocks` move it.

    `own_site` is that of its paper in this network (`backbones.own_site`), None that of its card.
    Raises UserError where the site is of another kind than the mechanism's own, or no block is left.
    """
    card = mechanism.card
    own_site = own_site or card.site
    chosen = site or own_site
    if kind(chosen) != kind(card.site):
        fitting = MAP_SITES if kind(card.site) == "map" else (card.site,)
        raise UserError(
            f"model.site: {chosen}: '{mechanism.name}' is written for the site {card.site}",
            f"it can go to: {', '.join(fitting)}",
        )
    own_place = chosen == own_site
    selected = _selected(anatomy, mechanism, stages, blocks, own_place)
    common = {"frames": frames, "classes": classes}
    target = _Target(net, anatomy, selected, shapes(net, size, frames or 1), mechanism, bool(stages or blocks))
    found = [Place(p.path, {**common, **p.facts}, p.put) for p in _SITES[chosen](target)]
    if not found:
        raise UserError(
            f"model.site: {chosen}: none of the chosen blocks has it", "choose other blocks or another site"
        )
    return found


def _selected(
    anatomy: Anatomy, mechanism: Mechanism, stages: Sequence[int] | None, blocks: Sequence[int] | None, own_place: bool
) -> list[Block]:
    """The blocks that a recipe, or else the card, names."""
    _exist("stages", stages, anatomy.stages, "the network")
    _exist("blocks", blocks, max(b.index for b in anatomy.blocks), "its longest stage")
    card, cifar = mechanism.card, anatomy.stages == 3
    whole_last = card.whole_last_stage and own_place and blocks is None
    if own_place and stages is None:
        stages = card.cifar_stages if cifar and card.cifar_stages else card.stages
    if own_place and blocks is None:
        blocks = card.cifar_blocks if cifar and card.cifar_blocks else card.blocks
    found = [
        b
        for b in anatomy.blocks
        if _among(b.stage, stages, anatomy.stages)
        and (
            (whole_last and b.stage == anatomy.stages)
            or _among(b.index, blocks, max(o.index for o in anatomy.blocks if o.stage == b.stage))
        )
    ]
    if not found:
        raise UserError(
            f"model.stages={stages}, model.blocks={blocks}: no block of the network is left",
            f"it has {anatomy.stages} stages; both count from 1, or from the end with negative numbers",
        )
    return found


def _exist(what: str, chosen: Sequence[int] | None, count: int, where: str) -> None:
    """Raises UserError for numbers that a recipe names and nothing has."""
    strange = [n for n in chosen or () if not 1 <= abs(n) <= count]
    if strange:
        raise UserError(
            f"model.{what}: {', '.join(map(str, strange))}: {where} has {count} {what}",
            "they count from 1, or from the end with negative numbers",
        )


def _among(position: int, chosen: Sequence[int] | None, count: int) -> bool:
    return chosen is None or position in chosen or position - count - 1 in chosen


def before(path: str) -> Callable[[nn.Module, nn.Module], None]:
    """Put the mechanism before the submodule at `path`."""
    return lambda net, attn: _wrap(net, path, attn, first=True)


def after(path: str) -> Callable[[nn.Module, nn.Module], None]:
    """Put the mechanism after the submodule at `path`."""
    return lambda net, attn: _wrap(net, path, attn, first=False)


def _wrap(net: nn.Module, path: str, attn: nn.Module, first: bool) -> None:
    wrapped, host = Wrapped(), net.get_submodule(path)
    for name, module in (("attn", attn), ("host", host)) if first else (("host", host), ("attn", attn)):
        wrapped.add_module(name, module)
    net.set_submodule(path, wrapped)


def instead(path: str, norm: str | None = None) -> Callable[[nn.Module, nn.Module], None]:
    """Put the mechanism in place of the submodule at `path`, and nothing in place of the one at `norm`."""

    def put(net: nn.Module, attn: nn.Module) -> None:
        wrapped = Wrapped()
        wrapped.add_module("attn", attn)
        net.set_submodule(path, wrapped)
        if norm:
            net.set_submodule(norm, nn.Identity())

    return put


@dataclass(frozen=True)
class _Target:
    """What the sites look at; `moved` where the recipe names stages or blocks of its own."""

    net: nn.Module
    anatomy: Anatomy
    blocks: list[Block]
    shapes: Shapes
    mechanism: Mechanism
    moved: bool


Found = Iterator[Place]


def _map(path: str, shape: Shape, put: Callable[[nn.Module, nn.Module], None], stage: int) -> Place:
    return Place(path, {"channels": shape[1], "size": tuple(shape[2:]), "stage": stage}, put)


def _gate(t: _Target) -> Found:
    return (_map(b.last_norm, t.shapes[b.last_norm][1], after(b.last_norm), b.stage) for b in t.blocks)


def _pre_norm(t: _Target) -> Found:
    return (_map(b.convs[-1], t.shapes[b.convs[-1]][1], after(b.convs[-1]), b.stage) for b in t.blocks)


def _mid(t: _Target) -> Found:
    return (_map(b.last_conv, t.shapes[b.last_conv][0], before(b.last_conv), b.stage) for b in t.blocks if b.widens)


def _block_input(t: _Target) -> Found:
    return (_map(b.path, t.shapes[b.path][0], before(b.path), b.stage) for b in t.blocks)


def _stage(t: _Target) -> Found:
    return (_map(b.path, t.shapes[b.path][1], after(b.path), b.stage) for b in t.blocks)


def _frames(t: _Target) -> Found:
    return (_map(b.convs[-1], t.shapes[b.convs[-1]][0], before(b.convs[-1]), b.stage) for b in t.blocks)


def _head(t: _Target) -> Found:
    yield _map(t.anatomy.pool, t.shapes[t.anatomy.pool][0], before(t.anatomy.pool), t.anatomy.stages)


def _input(t: _Target) -> Found:
    yield _map(t.anatomy.stem, t.shapes[t.anatomy.stem][0], before(t.anatomy.stem), 1)


def _conv(t: _Target) -> Found:
    which = {"all": slice(None), "first": slice(0, 1), "last": slice(-1, None)}[t.mechanism.card.convs]
    for b in t.blocks:
        for path, norm in list(zip(b.convs, b.norms, strict=True))[which]:
            conv = t.net.get_submodule(path)
            assert isinstance(conv, nn.Conv2d)
            facts = {
                "channels_in": conv.in_channels,
                "channels": conv.out_channels,
                "stride": conv.stride[0],
                "groups": conv.groups,
                "size": t.shapes[path][0][2:],
                "stage": b.stage,
            }
            yield Place(path, facts, instead(path, norm if t.mechanism.card.replaces_norm else None))


def _conv_input(t: _Target) -> Found:
    """Every convolution, stem and shortcuts among them, or where a recipe names blocks those in the blocks."""
    for path, conv in list(t.net.named_modules()):
        inside = next((b for b in t.blocks if path.startswith(b.path + ".")), None)
        if isinstance(conv, nn.Conv2d) and (inside is not None or not t.moved):
            yield _map(path, t.shapes[path][0], before(path), inside.stage if inside else 1)


def _join(t: _Target) -> Found:
    for b in (b for b in t.blocks if b.shortcut):
        taken, returned = t.shapes[b.path]
        facts = {
            "channels_in": taken[1],
            "channels": returned[1],
            "stride": -(-taken[2] // returned[2]),
            "size": taken[2:],
            "stage": b.stage,
        }
        yield Place(b.path, facts, _joined(t.anatomy, b.path))


def _joined(anatomy: Anatomy, path: str) -> Callable[[nn.Module, nn.Module], None]:
    return lambda net, attn: anatomy.join(net.get_submodule(path), attn)


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
}
