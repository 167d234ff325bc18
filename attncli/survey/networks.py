"""The networks that claims name: looked up, turned into recipes, and known again in finished runs. No torch."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from attncli import attention, backbones, check
from attncli.attention import NONE
from attncli.errors import UserError, nearest
from attncli.recipe import Model, Recipe
from attncli.survey import language
from attncli.survey.language import ACCURACY, EXACT, SPEED, LanguageError, Network, Quantity

OF_A_BACKBONE = ("stem", "replace")  # the options of a backbone: keys of `model`
LARGE, SMALL = 224, 32  # px, of images that no one gives the size of
CIFAR_NETS = ("resnet20", "resnet32", "resnet44", "resnet56", "resnet110")  # built for images of 32 px
CLASSES = {"imagenet": 1000, "cifar10": 10, "cifar100": 100, "svhn": 10, "mnist": 10, "fashion-mnist": 10, "digits": 10}
FRAMES = 8
PLACED = ("options", "site", "stages", "blocks")  # keys that say nothing without a mechanism


@dataclass(frozen=True)
class Images:
    """The images that exact figures are of: side in pixels, classes, frames of a clip."""

    size: int
    classes: int
    frames: int | None = None


def look_up(tree: language.Claim) -> None:
    """Raise LanguageError, with its place, for a network that can't be, or a comparison that means nothing."""
    for quantity in language.quantities(tree):
        values(quantity.network)
        for key, value in quantity.settings:
            wanted: type = str if key in ("dataset", "recipe") else int
            if not isinstance(value, wanted):
                raise LanguageError(quantity.at, f"{key}: {value!r} is not allowed", f"allowed: a {wanted.__name__}")
    for left, link in tree.pairs():
        names = {q.name for side in (left, link.right) for q in language.quantities(side)}
        if not names:
            raise LanguageError(link.at, "a comparison without any quantity", "such as params(resnet50)")
        if names & SPEED.keys() and names & ACCURACY.keys():
            raise LanguageError(link.at, "speed and accuracy in one comparison", "join two comparisons by 'and'")
        if link.sign in ("==", "!=") and not names <= EXACT.keys():
            raise LanguageError(link.at, f"{link.sign} of what is measured can't be tested", "write ~ x +- tolerance")


@cache
def values(network: Network) -> Mapping[str, Any]:
    """The recipe keys of a network. Raises LanguageError for names that nothing answers to, with the nearest."""
    base, attn = network.base, network.attn
    found: dict[str, Any] = {}
    if base.name in backbones.names():
        found["model.backbone"] = base.name
        for key, value in base.options:
            if key not in OF_A_BACKBONE:
                raise LanguageError(base.at, f"unknown option of a backbone: '{key}'", nearest(key, OF_A_BACKBONE))
            found[f"model.{key}"] = value
    elif base.name in _whole():
        if attn is not None:
            raise LanguageError(base.at, f"'{base.name}' is a whole network", "nothing can be added to it")
        attn = base
    else:
        raise LanguageError(
            base.at, f"unknown network: '{base.name}'", nearest(base.name, (*backbones.names(), *_whole()))
        )
    if attn is not None and attn.name != NONE:
        if attn is not base and attn.name in _whole():
            raise LanguageError(attn.at, f"'{attn.name}' is a whole network", "write it without a backbone")
        found["model.attn"] = attn.name
        found["model.options"] = {key: _plain(value) for key, value in attn.options}
    places = {"site": network.site, "stages": network.stages, "blocks": network.blocks}
    found |= {f"model.{key}": _plain(value) for key, value in places.items() if value is not None}
    _check(found, network)
    return found


def _check(found: Mapping[str, Any], network: Network) -> None:
    try:
        check.read(values=found)
    except UserError as error:
        first = error.parts[0]
        at = network.attn.at if network.attn else network.at
        raise LanguageError(at, first.problem, first.hint) from error


@cache
def _whole() -> tuple[str, ...]:
    """The mechanisms that are whole networks."""
    return tuple(name for name in attention.names() if attention.describe(name).card.site == "model")


def _plain(value: Any) -> Any:
    return [_plain(v) for v in value] if isinstance(value, tuple) else value


@cache
def recipe(network: Network) -> Recipe:
    """The default recipe with this network."""
    return check.read(values=values(network))


def images(quantity: Quantity, on: str | None, size: int | None) -> Images:
    """The images of a quantity: as its settings say, else its claim (`on` a dataset, `size`), else as is usual."""
    given: dict[str, Any] = dict(quantity.settings)
    dataset = given.get("dataset", on)
    small = quantity.network.base.name in CIFAR_NETS or CLASSES.get(dataset or "", 1000) < 1000
    side = given.get("size") or size or (SMALL if small else LARGE)
    classes = given.get("classes") or CLASSES.get(dataset or "") or (1000 if side >= 64 else 10)
    frames = given.get("frames")
    attn = values(quantity.network).get("model.attn", NONE)
    if frames is None and attn != NONE and attention.describe(attn).card.site.startswith("frames"):
        frames = FRAMES
    return Images(side, classes, frames)


def key(model: Model) -> str:
    """What makes a network this one: keys and options at their default and the mechanism's own site say nothing."""
    fields = type(model).model_fields
    kept = {k: v for k, v in _listed(model.model_dump()).items() if k == "backbone" or v != _listed(fields[k].default)}
    if model.attn == NONE:
        return json.dumps({k: v for k, v in kept.items() if k not in PLACED}, sort_keys=True)
    mechanism = attention.describe(model.attn)
    usual = {name: _listed(p.default) for name, p in mechanism.options.items()}
    kept["options"] = {k: v for k, v in _listed(model.options).items() if v != usual.get(k, ...)}
    if mechanism.card.site == "model":
        del kept["backbone"]
    elif model.site == backbones.own_site(model.backbone, mechanism.card):
        del kept["site"]
    return json.dumps(kept, sort_keys=True)


def _listed(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _listed(v) for k, v in value.items()}
    return [_listed(v) for v in value] if isinstance(value, list | tuple) else value
