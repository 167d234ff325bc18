"""Build the network of a recipe: a backbone with a mechanism at its sites, or a mechanism that is the whole network."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from attncli import attention, backbones
from attncli.attention import Mechanism
from attncli.attention.plugin_errors import plugin_errors
from attncli.attention.safe_convolution import replace_unsafe_convolutions
from attncli.backbones import pretrained, sites, surgery, timm_networks, user_networks
from attncli.backbones.grey_stem import convert_stem_to_grey
from attncli.backbones.structure import BackboneFamily, NetworkStructure
from attncli.backbones.surgery import find_mechanisms as find_mechanisms
from attncli.errors import UserError
from attncli.recipe import Model, Recipe
from attncli.seeds import derive_seed
from attncli.system.code_reference import is_code_reference

CIFAR_STEM_BELOW = 64  # images below this many pixels get the CIFAR stem
MAX_TRACED = 16  # plain networks whose shapes a process remembers
MOST_TRIED_SIDE = 32  # of the maps on which a mechanism that does not fit is tried
_traced_shapes: OrderedDict[str, surgery.ModuleShapes] = OrderedDict()


@dataclass(frozen=True)
class InputSpec:
    """What a network must know about its dataset: classes, (H, W) of an image, T of a clip (None for still images)."""

    classes: int
    size: tuple[int, int]
    frames: int | None = None


@dataclass(frozen=True)
class ResolvedModel:
    """The model of a recipe, with what its names stand for."""

    model: Model
    seed: int
    mechanism: Mechanism | None  # None for the plain backbone
    family: BackboneFamily | None  # None if the mechanism is the whole network
    paper_site: str | None  # where the mechanism's paper puts it in this backbone; None without mechanism

    @property
    def is_whole_network(self) -> bool:
        """Whether the mechanism is the whole network."""
        return self.family is None

    @property
    def site(self) -> str | None:
        """Where the mechanism goes: the site of the recipe, else that of the paper; None without mechanism.

        A combination has the sites of its parts, joined by `+`.
        """
        return self.model.site or self.paper_site if self.mechanism else None


def resolve_model(recipe: Recipe) -> ResolvedModel:
    """Look up the mechanism and the backbone of a recipe. Raises UserError for an unknown name."""
    model = recipe.model
    mechanism = attention.resolve_mechanism(model.attn)
    if mechanism and mechanism.is_whole_network:
        return ResolvedModel(model, recipe.seed, mechanism, None, mechanism.card.site)
    paper_sites = [backbones.get_paper_site(model.backbone, m.card) for m in mechanism.members] if mechanism else []
    paper_site = "+".join(dict.fromkeys(paper_sites)) or None
    return ResolvedModel(model, recipe.seed, mechanism, backbones.load(model.backbone), paper_site)


class ClipNetwork(nn.Module):
    """A network for frames that takes clips: (N, T, 3, H, W) -> (N, classes), frames folded into the batch."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of the clips."""
        return self.net(x.flatten(0, 1))


def build(recipe: Recipe, spec: InputSpec, notify: Callable[[str], None] | None = None) -> nn.Module:
    """Build the network of a recipe: images (N, 3, H, W), or clips (N, T, 3, H, W), to logits (N, classes).

    The backbone is drawn from the seed's stream "backbone" before any mechanism is put in, and each mechanism from
    the stream of its own place. So with one seed all variants share the backbone's weights to the last bit.

    Args:
        recipe: The recipe.
        spec: What the network must know about its data.
        notify: Called with text about loaded pretrained weights and what the mechanism does to them.

    Raises:
        UserError: The mechanism does not fit the network or the data.
    """
    resolved = resolve_model(recipe)
    _validate_combination(resolved, spec)
    if resolved.family is None:
        net = _build_whole_network(resolved, spec)
    else:
        net, structure = _build_backbone(resolved, spec, notify)
        _zero_residual_branches(net, resolved, structure)
        _insert_attention(net, resolved, structure, spec)
        if isinstance(recipe.model.pretrained, str) and not _is_building_on_meta():
            summary = pretrained.load_mechanisms(net, recipe.model.pretrained)
            if summary and notify:
                notify(summary)
        net = net if spec.frames is None else ClipNetwork(net)
    replace_unsafe_convolutions(net)
    if attention.is_plugin(recipe.model.attn):
        _run_smoke_test(net, resolved, spec)
    return net


def _validate_combination(resolved: ResolvedModel, spec: InputSpec) -> None:
    """Raise UserError, before anything is built, for settings that contradict each other."""
    model, mechanism = resolved.model, resolved.mechanism
    if model.zero_init_residual and (model.pretrained or resolved.is_whole_network):
        reason = "a whole network has no blocks" if resolved.is_whole_network else "it would undo pretrained weights"
        raise UserError(f"model.zero_init_residual: {reason}", "leave it out")
    if mechanism is None:
        return
    if mechanism.needs_clips and spec.frames is None:
        raise UserError(
            f"model.attn: '{model.attn}' works on the frames of clips, and the data are still images",
            "choose data.name=clips, which makes clips of any still-image dataset (data.of)",
        )
    if resolved.is_whole_network and spec.frames is not None:
        raise UserError(f"model.attn: '{model.attn}' is a whole network for still images", "choose still images")
    if model.replace and mechanism.parts:
        raise UserError(f"model.replace: one mechanism takes that place, not '{model.attn}'", "leave out model.replace")
    if model.replace and model.site:
        raise UserError(
            "model.site: with model.replace a mechanism goes where the built-in attention was", "leave out one of them"
        )
    if resolved.is_whole_network and (model.replace or model.pretrained):
        raise UserError(
            f"model.attn: '{model.attn}' is a whole network: it has no backbone to replace or load anything in",
            "leave out model.replace and model.pretrained",
        )
    if resolved.is_whole_network and model.channels != 3:
        raise UserError(
            f"model.channels: '{model.attn}' is a whole network: it has no stem of a backbone to change",
            "leave out model.channels",
        )
    if resolved.is_whole_network and model.last_stride:
        raise UserError(
            f"model.last_stride: '{model.attn}' is a whole network: it has no last stage of a backbone",
            "leave out model.last_stride",
        )
    if resolved.is_whole_network and (model.site or model.stages or model.blocks):
        raise UserError(
            f"model.attn: '{model.attn}' is a whole network: it has no place to choose",
            "leave out model.site, model.stages and model.blocks",
        )


def _build_whole_network(resolved: ResolvedModel, spec: InputSpec) -> nn.Module:
    site_arguments = {"classes": spec.classes, "size": spec.size, "channels_in": 3, "channels": 3}
    assert resolved.mechanism is not None
    return build_mechanism(resolved, resolved.mechanism, site_arguments, "model")


def build_plain_network(model: Model, classes: int, size: tuple[int, int]) -> tuple[nn.Module, NetworkStructure]:
    """Return the backbone of a recipe with random weights, for images of `size` (H, W), and its parts.

    Some networks are described from a pass of images: as they are built here, before anything is put in.

    Raises UserError if the network does not take images of this size, or the strides of its last stage cannot be
    removed.
    """
    use_cifar_stem = max(size) < CIFAR_STEM_BELOW if model.stem == "auto" else model.stem == "cifar"
    family = backbones.load(model.backbone)
    net = family.build(model.backbone, classes, use_cifar_stem)
    if model.backbone.startswith(backbones.TIMM_PREFIX):
        timm_networks.check_image_size(net, model.backbone, size)
    if is_code_reference(model.backbone):
        user_networks.set_image_size(net, model.backbone, size, classes)
        user_networks.set_block_paths(net, model.block_paths)
    elif model.block_paths:
        raise UserError(
            f"model.block_paths: the blocks of {model.backbone} are known",
            "leave it out; it is for --backbone FILE.py:NAME",
        )
    structure = family.find_structure(net)
    if model.last_stride:
        _remove_last_strides(net, structure, model.backbone, size)
    return net, structure


def _remove_last_strides(net: nn.Module, structure: NetworkStructure, backbone: str, size: tuple[int, int]) -> None:
    if not surgery.remove_last_strides(net, structure):
        raise UserError(
            f"model.last_stride: no convolution in the last stage of {backbone} has a stride",
            "leave out model.last_stride",
        )
    if not surgery.keeps_size(net, structure, size):
        raise UserError(
            f"model.last_stride: the last stage of {backbone} makes its map smaller by more than its convolutions",
            "leave out model.last_stride",
        )


def _build_backbone(
    resolved: ResolvedModel, spec: InputSpec, notify: Callable[[str], None] | None
) -> tuple[nn.Module, NetworkStructure]:
    """Build the plain network from the seed's stream "backbone", with pretrained weights if the recipe wants them.

    Its parts are those before its classifier averages over the frames of clips.
    """
    model = resolved.model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(resolved.seed, "backbone"))
        net, structure = build_plain_network(model, spec.classes, spec.size)
        if model.channels == 1:
            convert_stem_to_grey(net, model.backbone)
        if model.pretrained and not _is_building_on_meta():
            loaded = pretrained.load(net, structure, model.backbone, model.pretrained)
            if notify:
                warnings = pretrained.pretraining_warnings(resolved.mechanism)
                notify("\n".join((loaded.format_summary(), *warnings)))
        if spec.frames is not None:
            path = structure.classifier
            net.set_submodule(path, surgery.FrameAveragingHead(net.get_submodule(path), spec.frames))
    return net, structure


def _zero_residual_branches(net: nn.Module, resolved: ResolvedModel, structure: NetworkStructure) -> None:
    """Start each residual block as its shortcut if the recipe, or else the mechanism's card, wants that.

    Pretrained weights stay as they are. Raises UserError if the recipe wants it and the network has no such norms.
    """
    model, mechanism = resolved.model, resolved.mechanism
    by_card = mechanism is not None and mechanism.card.zero_init_residual and not model.pretrained
    if not (by_card if model.zero_init_residual is None else model.zero_init_residual):
        return
    zeroed = surgery.zero_branch_norms(net, structure)
    if not zeroed and model.zero_init_residual:
        raise UserError(
            f"model.zero_init_residual: no residual branch of {model.backbone} ends with a norm", "leave it out"
        )


def _insert_attention(net: nn.Module, resolved: ResolvedModel, structure: NetworkStructure, spec: InputSpec) -> None:
    """Build the mechanism for each of its places and put it there; remove the attention that it replaces."""
    model, mechanism = resolved.model, resolved.mechanism
    placed_mechanisms: list[tuple[sites.Placement, nn.Module]] = []
    with plugin_errors(model.attn, "fails on a map of zeros"):
        for member in mechanism.members if mechanism is not None else ():
            request = make_placement_request(resolved, member, spec)
            places = sites.find_placements(net, structure, request, _trace_plain_network(net, model, spec))
            placed_members = [
                (p, build_mechanism(resolved, member, p.site_arguments, p.path, p.options)) for p in places
            ]
            if sites.is_map_site(model.site or member.card.site):
                _check_map_shapes(member.reference, placed_members)
            placed_mechanisms += placed_members
        if model.replace:
            sites.remove_built_in_attention(net, structure, model.replace)
        cards = {member.reference: member.card for member in (mechanism.members if mechanism is not None else ())}
        for placement, module in sites.order_insertions(model.attn, placed_mechanisms):
            if (parameter := cards[surgery.read_reference(module)].host_kernel) and placement.position == "instead":
                surgery.copy_host_kernel(net, placement.path, module, parameter)
            placement.insert(net, module)


def _trace_plain_network(net: nn.Module, model: Model, spec: InputSpec) -> surgery.ModuleShapes:
    """Return the shapes in `net`, the plain network of a recipe; runs that differ in the seed or mechanism share them.

    Users' and timm's networks are traced each time: their code may be another the next time.
    """
    if is_code_reference(model.backbone) or model.backbone.startswith(backbones.TIMM_PREFIX):
        return surgery.trace_shapes(net, spec.size, spec.frames or 1)
    plain: dict[str, Any] = {"attn": attention.NONE, "options": {}, "site": None, "stages": None, "blocks": None}
    key = f"{model.model_copy(update=plain).model_dump_json()} {spec}"
    if key not in _traced_shapes:
        _traced_shapes[key] = surgery.trace_shapes(net, spec.size, spec.frames or 1)
        while len(_traced_shapes) > MAX_TRACED:
            _traced_shapes.popitem(last=False)
    return _traced_shapes[key]


def make_placement_request(resolved: ResolvedModel, mechanism: Mechanism, spec: InputSpec) -> sites.PlacementRequest:
    """Return what decides where a mechanism of a recipe goes in its network."""
    model = resolved.model
    return sites.PlacementRequest(
        mechanism,
        backbones.get_paper_site(model.backbone, mechanism.card),
        spec.size,
        spec.classes,
        spec.frames,
        model.site,
        model.stages,
        model.blocks,
        model.replace,
    )


def build_mechanism(
    resolved: ResolvedModel,
    mechanism: Mechanism,
    site_arguments: dict[str, Any],
    path: str,
    place_options: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Build a mechanism for a place from the random stream of that place.

    So `se` has the same weights in se+simam as alone.

    Args:
        resolved: The model that it is a part of.
        mechanism: The mechanism, or one of a combination.
        site_arguments: The values of the place by site argument.
        path: The place, `model` for a whole network.
        place_options: The options that the place decides, whatever the recipe says.

    Raises:
        UserError: It cannot be built there.
    """
    model = resolved.model
    assert resolved.mechanism is not None
    arguments = mechanism.select_arguments(site_arguments)
    options = {**mechanism.select_options(model.options, resolved.mechanism), **(place_options or {})}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(resolved.seed, "mechanism", path))
        try:
            with plugin_errors(model.attn, f"fails for {path} ({_format_arguments(arguments)})"):
                module = attention.load_class(mechanism.reference)(**arguments, **options)
        except (ValueError, TypeError) as error:
            whole = resolved.is_whole_network
            failure = "cannot be built" if whole else f"does not fit {model.backbone} at {path}"
            other_places = "" if whole else "; model.stages and model.blocks choose places where it fits"
            side = _find_smallest_side(attention.load_class(mechanism.reference), arguments, options)
            if side is not None:
                other_places += f"; the smallest map is {side} x {side}: larger images (--image-size)"
            raise UserError(
                f"attention '{mechanism.reference}' {failure} ({_format_arguments(arguments)}): {error}",
                f"`attncli show {mechanism.reference}` prints what it needs{other_places}",
            ) from error
    if not isinstance(module, nn.Module):
        raise UserError(f"attention '{mechanism.reference}': not a torch.nn.Module", "derive the class from nn.Module")
    surgery.mark_mechanism(module, mechanism.reference)
    return module


def _find_smallest_side(
    build: Callable[..., nn.Module], arguments: Mapping[str, Any], options: Mapping[str, Any]
) -> int | None:
    """Return the smallest side of a square map with which a mechanism can be built that failed on this map, or None."""
    for side in range(min(arguments.get("size", [MOST_TRIED_SIDE])) + 1, MOST_TRIED_SIDE + 1):
        try:
            with torch.device("meta"):
                build(**{**arguments, "size": (side, side)}, **options)
        except Exception:  # any size that fails, or a reason that is not the size
            continue
        return side
    return None


def _format_arguments(arguments: dict[str, Any]) -> str:
    return ", ".join(
        f"{name}={'x'.join(map(str, value)) if isinstance(value, tuple) else value}"
        for name, value in arguments.items()
    )


def _check_map_shapes(attn: str, placed_mechanisms: Sequence[tuple[sites.Placement, nn.Module]]) -> None:
    """Raise UserError if the mechanism changes the shape of a map; one pass of zeros for each shape shows it.

    Does nothing on the meta device, where a network is built only to be counted.
    """
    if _is_building_on_meta():
        return
    checked_shapes = set()
    for placement, module in placed_mechanisms:
        shape = (2, placement.site_arguments["channels"], *placement.site_arguments["size"])
        if shape in checked_shapes:
            continue
        checked_shapes.add(shape)
        failure = plugin_errors(attn, f"fails on a map of zeros of the shape {shape}", anywhere=True)
        with failure, torch.no_grad(), torch.random.fork_rng(devices=[]):
            y = module.eval()(torch.zeros(shape))
        module.train()
        if not isinstance(y, Tensor) or y.shape != shape:
            raise _make_shape_error(attn, y, shape, placement.path)


def _make_shape_error(attn: str, output: object, shape: tuple[int, ...], path: str) -> UserError:
    """Return the error for a mechanism that returns something else than a map of the shape that it takes."""
    returned = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
    hint = "at this site it must keep the shape: choose other options or another site"
    if isinstance(output, tuple | list) and output and isinstance(output[0], Tensor) and output[0].shape == shape:
        hint = "return the map alone; or name a class derived from it, whose forward returns super().forward(x)[0]"
    return UserError(f"attention '{attn}' returns {returned} for {shape} at {path}", hint)


def _is_building_on_meta() -> bool:
    """Return whether tensors made now have no data; torch.get_default_device of 2.6 misses `with torch.device`."""
    return torch.empty(0).device.type == "meta"


def _run_smoke_test(net: nn.Module, resolved: ResolvedModel, spec: InputSpec) -> None:
    """Run a forward and a backward pass on zeros, so that a user's file fails before the training starts."""
    if _is_building_on_meta():
        return
    attn, frames = resolved.model.attn, () if spec.frames is None else (spec.frames,)
    with plugin_errors(attn, "does not fit the network", anywhere=True), torch.random.fork_rng(devices=[]):
        y = net.eval()(torch.zeros(2, *frames, 3, *spec.size))
        if y.shape != (2, spec.classes):
            raise ValueError(f"it returns {tuple(y.shape)}, not {(2, spec.classes)}")
        if torch.is_grad_enabled():  # a trained network is loaded without gradients
            y.sum().backward()
    net.train().zero_grad(set_to_none=True)
