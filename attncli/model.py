"""From a recipe's model to a network: a backbone with a mechanism at its sites, or a mechanism that is the whole."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from attncli import attention, backbones
from attncli.attention.own import blamed
from attncli.backbones import insert, pretrained, sites
from attncli.errors import UserError
from attncli.recipe import Model, Recipe, Train
from attncli.streams import stream

SMALL = 64  # images below this many pixels get the CIFAR stem


@dataclass(frozen=True)
class Shape:
    """What a network must know of its dataset: classes, (H, W) of an image, T of a clip (None for still images)."""

    classes: int
    size: tuple[int, int]
    frames: int | None = None


class Clips(nn.Module):
    """A network for frames made one for clips: (N, T, 3, H, W) -> (N, classes), frames folded into the batch."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the clips."""
        return self.net(x.flatten(0, 1))


def build(recipe: Recipe, shape: Shape, tell: Callable[[str], None] | None = None) -> nn.Module:
    """The network of a recipe: images (N, 3, H, W), or clips (N, T, 3, H, W), to logits (N, classes).

    The backbone is drawn from the seed's stream "backbone" before any mechanism is put in, each mechanism from
    a stream of its own place: with one seed all variants share the backbone's weights to the last bit.
    `tell` hears what pretrained weights were loaded and what the mechanism does to them.
    Raises UserError where the mechanism does not fit the network or the data.
    """
    attn = recipe.model.attn
    if attn == attention.NONE:
        net = _backbone(recipe, shape, tell)
        _without_built_in(net, recipe)
        return _for_data(net, shape)
    _refuse(recipe.model, shape)
    if attention.describe(attn).card.site == "model":
        net = _whole(recipe, shape)
    else:
        net = _backbone(recipe, shape, tell)
        with blamed(attn, "fails on a map of zeros"):
            _put(net, recipe, shape)
        net = _for_data(net, shape)
    if attention.is_own(attn):
        _try(net, recipe, shape)
    return net


def _for_data(net: nn.Module, shape: Shape) -> nn.Module:
    return net if shape.frames is None else Clips(net)


def _without_built_in(net: nn.Module, recipe: Recipe) -> None:
    """Take out the attention that the network itself has, where the recipe replaces it."""
    if what := recipe.model.replace:
        sites.remove(net, backbones.load(recipe.model.backbone).anatomy(net), what)


def _backbone(recipe: Recipe, shape: Shape, tell: Callable[[str], None] | None) -> nn.Module:
    """The plain network, drawn from the seed's stream "backbone", then with pretrained weights where asked for."""
    model, family = recipe.model, backbones.load(recipe.model.backbone)
    small = max(shape.size) < SMALL if model.stem == "auto" else model.stem == "cifar"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream(recipe.seed, "backbone"))
        net: nn.Module = family.build(model.backbone, shape.classes, small)
        if model.backbone.startswith(backbones.TIMM):
            family.check(net, model.backbone, shape.size)
        if model.pretrained and not _lacks_numbers():
            loaded = pretrained.load(net, family.anatomy(net), model.backbone, model.pretrained)
            if tell:
                tell("\n".join((loaded.told(), *pretrained.disturbed(model.attn))))
        if shape.frames is not None:
            path = family.anatomy(net).classifier
            net.set_submodule(path, insert.AverageFrames(net.get_submodule(path), shape.frames))
    return net


def _refuse(model: Model, shape: Shape) -> None:
    """Say before anything is built what can't go together."""
    site = attention.describe(model.attn).card.site
    if site.startswith("frames") and shape.frames is None:
        raise UserError(
            f"model.attn: '{model.attn}' works on the frames of clips, and the data are still images",
            "choose data.name=clips, which makes clips of any still-image dataset (data.of)",
        )
    if site == "model" and shape.frames is not None:
        raise UserError(f"model.attn: '{model.attn}' is a whole network for still images", "choose still images")
    if model.replace and model.site:
        raise UserError(
            "model.site: with model.replace a mechanism goes where the built-in attention was", "leave out one of them"
        )
    if site == "model" and (model.replace or model.pretrained):
        raise UserError(
            f"model.attn: '{model.attn}' is a whole network: it has no backbone to replace or load anything in",
            "leave out model.replace and model.pretrained",
        )
    if site == "model" and (model.site or model.stages or model.blocks):
        raise UserError(
            f"model.attn: '{model.attn}' is a whole network: it has no place to choose",
            "leave out model.site, model.stages and model.blocks",
        )


def _whole(recipe: Recipe, shape: Shape) -> nn.Module:
    facts = {"classes": shape.classes, "size": shape.size, "channels_in": 3, "channels": 3}
    return _make(recipe, facts, "model")


def _put(net: nn.Module, recipe: Recipe, shape: Shape) -> None:
    """Build the mechanism for each of its places and put it there."""
    model = recipe.model
    found = sites.places(
        net,
        backbones.load(model.backbone).anatomy(net),
        attention.describe(model.attn),
        size=shape.size,
        classes=shape.classes,
        own_site=backbones.own_site(model.backbone, attention.describe(model.attn).card),
        site=model.site,
        stages=model.stages,
        blocks=model.blocks,
        frames=shape.frames,
        replace=model.replace,
    )
    made = [(place, _make(recipe, place.facts, place.path)) for place in found]
    if sites.kind(model.site or attention.describe(model.attn).card.site) == "map":
        _check_shapes(recipe, made)
    _without_built_in(net, recipe)
    for place, module in made:
        place.put(net, module)


def _make(recipe: Recipe, facts: dict[str, Any], path: str) -> nn.Module:
    """The mechanism for one place, drawn from a random stream of that place."""
    model = recipe.model
    asked = {k: v for k, v in facts.items() if k in attention.describe(model.attn).facts}
    options = {k: tuple(v) if isinstance(v, list) else v for k, v in model.options.items()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream(recipe.seed, "mechanism", path))
        try:
            with blamed(model.attn, f"fails for {path} ({_told(asked)})"):
                module = attention.load(model.attn).Attention(**asked, **options)
        except (ValueError, TypeError) as error:
            whole = path == "model"
            where = "cannot be built" if whole else f"does not fit {model.backbone} at {path}"
            elsewhere = "" if whole else "; model.stages and model.blocks keep it to places where it fits"
            raise UserError(
                f"attention '{model.attn}' {where} ({_told(asked)}): {error}",
                f"`attncli show {model.attn}` tells what it needs{elsewhere}",
            ) from error
    if not isinstance(module, nn.Module):
        raise UserError(f"attention '{model.attn}': Attention is not a torch.nn.Module", "derive it from nn.Module")
    return module


def _told(facts: dict[str, Any]) -> str:
    return ", ".join(f"{k}={'x'.join(map(str, v)) if isinstance(v, tuple) else v}" for k, v in facts.items())


def _check_shapes(recipe: Recipe, made: Sequence[tuple[sites.Place, nn.Module]]) -> None:
    """One pass of zeros through the mechanism at each kind of place: a map must keep its shape.

    Not on the meta device, where a network is built only to be counted.
    """
    if _lacks_numbers():
        return
    seen = set()
    for place, module in made:
        shape = (2, place.facts["channels"], *place.facts["size"])
        if shape in seen:
            continue
        seen.add(shape)
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            y = module.eval()(torch.zeros(shape))
        module.train()
        if not isinstance(y, Tensor) or y.shape != shape:
            got = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
            raise UserError(
                f"attention '{recipe.model.attn}' returns {got} for {shape} at {place.path}",
                "at this site it must keep the shape: choose other options or another site",
            )


def _lacks_numbers() -> bool:
    """Return whether tensors made now have no numbers; torch.get_default_device of 2.6 misses `with torch.device`."""
    return torch.empty(0).device.type == "meta"


def _try(net: nn.Module, recipe: Recipe, shape: Shape) -> None:
    """One pass of zeros forth and back through the network, so that a user's own file fails before the training."""
    if _lacks_numbers():
        return
    frames = () if shape.frames is None else (shape.frames,)
    with blamed(recipe.model.attn, "does not fit the network", anywhere=True), torch.random.fork_rng(devices=[]):
        y = net.eval()(torch.zeros(2, *frames, 3, *shape.size))
        if y.shape != (2, shape.classes):
            raise ValueError(f"it gives {tuple(y.shape)}, not {(2, shape.classes)}")
        y.sum().backward()
    net.train().zero_grad(set_to_none=True)


def mechanisms(model: nn.Module) -> dict[str, nn.Module]:
    """The mechanisms in a network by path; a whole-model mechanism is the network itself, under ""."""
    inside = {path: m for path, m in model.named_modules() if path.endswith(".attn")}
    return inside or ({"": model} if type(model).__module__.startswith(("attncli.attention", "attncli_own")) else {})


def parameter_groups(model: nn.Module, train: Train, attn: str) -> list[dict[str, Any]]:
    """The parameters as groups for an optimiser, each with its `weight_decay` and `lr_scale`.

    Norms and biases (every vector or scalar) are not decayed unless `train.decay_norm_bias`; what a card, or by
    its options the module, lists as `no_weight_decay` never is. `lr_scale` multiplies the scheduled learning rate.
    """
    plain, scale = _card_rules(model, attn)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, p in model.named_parameters():
        decayed = (p.ndim > 1 or train.decay_norm_bias) and name not in plain
        key = (train.weight_decay if decayed else 0.0, scale.get(name, 1.0))
        groups.setdefault(key, []).append(p)
    return [{"params": params, "weight_decay": decay, "lr_scale": factor} for (decay, factor), params in groups.items()]


def _card_rules(model: nn.Module, attn: str) -> tuple[set[str], dict[str, float]]:
    """(names without weight decay, learning-rate factors) by the card of the mechanism."""
    plain: set[str] = set()
    scale: dict[str, float] = {}
    if attn == attention.NONE:
        return plain, scale
    card = attention.describe(attn).card
    for path, module in mechanisms(model).items():
        spared = getattr(module, "no_weight_decay", card.no_weight_decay)
        for name, _ in module.named_parameters():
            whole = f"{path}.{name}" if path else name
            if any(name == rule or name.startswith(rule + ".") for rule in spared):
                plain.add(whole)
            for rule, factor in card.lr_scale:
                if name == rule or name.startswith(rule + "."):
                    scale[whole] = factor
    return plain, scale
