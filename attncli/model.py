"""From a recipe's model to a network: a backbone with a mechanism at its sites, or a mechanism that is the whole."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from attncli import attention, backbones
from attncli.attention.plugin_errors import plugin_errors
from attncli.backbones import pretrained, sites, surgery
from attncli.errors import UserError
from attncli.recipe import Model, Recipe, Train
from attncli.seeds import derive_seed

CIFAR_STEM_BELOW = 64  # images below this many pixels get the CIFAR stem


@dataclass(frozen=True)
class InputSpec:
    """What a network must know of its dataset: classes, (H, W) of an image, T of a clip (None for still images)."""

    classes: int
    size: tuple[int, int]
    frames: int | None = None


class ClipNetwork(nn.Module):
    """A network for frames made one for clips: (N, T, 3, H, W) -> (N, classes), frames folded into the batch."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the clips."""
        return self.net(x.flatten(0, 1))


def build(recipe: Recipe, spec: InputSpec, notify: Callable[[str], None] | None = None) -> nn.Module:
    """The network of a recipe: images (N, 3, H, W), or clips (N, T, 3, H, W), to logits (N, classes).

    The backbone is drawn from the seed's stream "backbone" before any mechanism is put in, each mechanism from
    a stream of its own place: with one seed all variants share the backbone's weights to the last bit.
    `notify` hears what pretrained weights were loaded and what the mechanism does to them.
    Raises UserError where the mechanism does not fit the network or the data.
    """
    attn = recipe.model.attn
    if attn == attention.NONE:
        net = _build_backbone(recipe, spec, notify)
        _remove_replaced_attention(net, recipe)
        return _adapt_to_clips(net, spec)
    _validate_combination(recipe.model, spec)
    if attention.describe_mechanism(attn).card.site == "model":
        net = _build_whole_network(recipe, spec)
    else:
        net = _build_backbone(recipe, spec, notify)
        with plugin_errors(attn, "fails on a map of zeros"):
            _insert_mechanism(net, recipe, spec)
        net = _adapt_to_clips(net, spec)
    if attention.is_plugin(attn):
        _run_smoke_test(net, recipe, spec)
    return net


def _adapt_to_clips(net: nn.Module, spec: InputSpec) -> nn.Module:
    return net if spec.frames is None else ClipNetwork(net)


def _remove_replaced_attention(net: nn.Module, recipe: Recipe) -> None:
    """Take out the attention that the network itself has, where the recipe replaces it."""
    if attention_name := recipe.model.replace:
        sites.remove_built_in_attention(net, backbones.load(recipe.model.backbone).anatomy(net), attention_name)


def _build_backbone(recipe: Recipe, spec: InputSpec, notify: Callable[[str], None] | None) -> nn.Module:
    """The plain network, drawn from the seed's stream "backbone", then with pretrained weights where asked for."""
    model, family = recipe.model, backbones.load(recipe.model.backbone)
    use_cifar_stem = max(spec.size) < CIFAR_STEM_BELOW if model.stem == "auto" else model.stem == "cifar"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(recipe.seed, "backbone"))
        net: nn.Module = family.build(model.backbone, spec.classes, use_cifar_stem)
        if model.backbone.startswith(backbones.TIMM_PREFIX):
            family.check_image_size(net, model.backbone, spec.size)
        if model.pretrained and not _is_building_on_meta():
            loaded = pretrained.load(net, family.anatomy(net), model.backbone, model.pretrained)
            if notify:
                notify("\n".join((loaded.format_summary(), *pretrained.pretraining_warnings(model.attn))))
        if spec.frames is not None:
            path = family.anatomy(net).classifier
            net.set_submodule(path, surgery.FrameAveragingHead(net.get_submodule(path), spec.frames))
    return net


def _validate_combination(model: Model, spec: InputSpec) -> None:
    """Say before anything is built what can't go together."""
    site = attention.describe_mechanism(model.attn).card.site
    if site.startswith("frames") and spec.frames is None:
        raise UserError(
            f"model.attn: '{model.attn}' works on the frames of clips, and the data are still images",
            "choose data.name=clips, which makes clips of any still-image dataset (data.of)",
        )
    if site == "model" and spec.frames is not None:
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


def _build_whole_network(recipe: Recipe, spec: InputSpec) -> nn.Module:
    site_arguments = {"classes": spec.classes, "size": spec.size, "channels_in": 3, "channels": 3}
    return _build_mechanism(recipe, site_arguments, "model")


def _insert_mechanism(net: nn.Module, recipe: Recipe, spec: InputSpec) -> None:
    """Build the mechanism for each of its places and put it there."""
    model = recipe.model
    placements = sites.find_placements(
        net,
        backbones.load(model.backbone).anatomy(net),
        attention.describe_mechanism(model.attn),
        size=spec.size,
        classes=spec.classes,
        paper_site=backbones.get_paper_site(model.backbone, attention.describe_mechanism(model.attn).card),
        site=model.site,
        stages=model.stages,
        blocks=model.blocks,
        frames=spec.frames,
        replace=model.replace,
    )
    placed_mechanisms = [
        (placement, _build_mechanism(recipe, placement.site_arguments, placement.path)) for placement in placements
    ]
    if sites.classify_site(model.site or attention.describe_mechanism(model.attn).card.site) == "map":
        _check_map_shapes(recipe, placed_mechanisms)
    _remove_replaced_attention(net, recipe)
    for placement, module in placed_mechanisms:
        placement.insert(net, module)


def _build_mechanism(recipe: Recipe, site_arguments: dict[str, Any], path: str) -> nn.Module:
    """The mechanism for one place, drawn from a random stream of that place."""
    model = recipe.model
    arguments = {
        name: value
        for name, value in site_arguments.items()
        if name in attention.describe_mechanism(model.attn).site_arguments
    }
    options = {name: tuple(value) if isinstance(value, list) else value for name, value in model.options.items()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(recipe.seed, "mechanism", path))
        try:
            with plugin_errors(model.attn, f"fails for {path} ({_format_arguments(arguments)})"):
                module = attention.load(model.attn).Attention(**arguments, **options)
        except (ValueError, TypeError) as error:
            is_whole_network = path == "model"
            failure = "cannot be built" if is_whole_network else f"does not fit {model.backbone} at {path}"
            other_places = "" if is_whole_network else "; model.stages and model.blocks keep it to places where it fits"
            raise UserError(
                f"attention '{model.attn}' {failure} ({_format_arguments(arguments)}): {error}",
                f"`attncli show {model.attn}` tells what it needs{other_places}",
            ) from error
    if not isinstance(module, nn.Module):
        raise UserError(f"attention '{model.attn}': Attention is not a torch.nn.Module", "derive it from nn.Module")
    return module


def _format_arguments(arguments: dict[str, Any]) -> str:
    return ", ".join(
        f"{name}={'x'.join(map(str, value)) if isinstance(value, tuple) else value}"
        for name, value in arguments.items()
    )


def _check_map_shapes(recipe: Recipe, placed_mechanisms: Sequence[tuple[sites.Placement, nn.Module]]) -> None:
    """One pass of zeros through the mechanism at each kind of place: a map must keep its shape.

    Not on the meta device, where a network is built only to be counted.
    """
    if _is_building_on_meta():
        return
    checked_shapes = set()
    for placement, module in placed_mechanisms:
        shape = (2, placement.site_arguments["channels"], *placement.site_arguments["size"])
        if shape in checked_shapes:
            continue
        checked_shapes.add(shape)
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            y = module.eval()(torch.zeros(shape))
        module.train()
        if not isinstance(y, Tensor) or y.shape != shape:
            returned = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
            raise UserError(
                f"attention '{recipe.model.attn}' returns {returned} for {shape} at {placement.path}",
                "at this site it must keep the shape: choose other options or another site",
            )


def _is_building_on_meta() -> bool:
    """Whether tensors made now have no numbers; torch.get_default_device of 2.6 misses `with torch.device("meta")`."""
    return torch.empty(0).device.type == "meta"


def _run_smoke_test(net: nn.Module, recipe: Recipe, spec: InputSpec) -> None:
    """One pass of zeros forth and back through the network, so that a user's own file fails before the training."""
    if _is_building_on_meta():
        return
    frames = () if spec.frames is None else (spec.frames,)
    with plugin_errors(recipe.model.attn, "does not fit the network", anywhere=True), torch.random.fork_rng(devices=[]):
        y = net.eval()(torch.zeros(2, *frames, 3, *spec.size))
        if y.shape != (2, spec.classes):
            raise ValueError(f"it gives {tuple(y.shape)}, not {(2, spec.classes)}")
        y.sum().backward()
    net.train().zero_grad(set_to_none=True)


def find_mechanisms(model: nn.Module) -> dict[str, nn.Module]:
    """The mechanisms in a network by path; a whole-model mechanism is the network itself, under ""."""
    inserted = {path: module for path, module in model.named_modules() if path.endswith(".attn")}
    return inserted or ({"": model} if type(model).__module__.startswith(("attncli.attention", "attncli_own")) else {})


def group_parameters(model: nn.Module, train: Train, attn: str) -> list[dict[str, Any]]:
    """The parameters as groups for an optimiser, each with its `weight_decay` and `lr_scale`.

    Norms and biases (every vector or scalar) are not decayed unless `train.decay_norm_bias`; what a card, or by
    its options the module, lists as `no_weight_decay` never is. `lr_scale` multiplies the scheduled learning rate.
    """
    undecayed, lr_factors = _read_card_rules(model, attn)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        decayed = (parameter.ndim > 1 or train.decay_norm_bias) and name not in undecayed
        key = (train.weight_decay if decayed else 0.0, lr_factors.get(name, 1.0))
        groups.setdefault(key, []).append(parameter)
    return [{"params": params, "weight_decay": decay, "lr_scale": factor} for (decay, factor), params in groups.items()]


def _read_card_rules(model: nn.Module, attn: str) -> tuple[set[str], dict[str, float]]:
    """(names without weight decay, learning-rate factors) by the card of the mechanism."""
    undecayed: set[str] = set()
    lr_factors: dict[str, float] = {}
    if attn == attention.NONE:
        return undecayed, lr_factors
    card = attention.describe_mechanism(attn).card
    for path, module in find_mechanisms(model).items():
        undecayed_rules = getattr(module, "no_weight_decay", card.no_weight_decay)
        for name, _ in module.named_parameters():
            full_name = f"{path}.{name}" if path else name
            if any(name == rule or name.startswith(rule + ".") for rule in undecayed_rules):
                undecayed.add(full_name)
            for rule, factor in card.lr_scale:
                if name == rule or name.startswith(rule + "."):
                    lr_factors[full_name] = factor
    return undecayed, lr_factors
