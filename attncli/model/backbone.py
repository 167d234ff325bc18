"""Build the plain network of a recipe: the backbone with its stem, strides, weights and head, without a mechanism."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from torch import nn

from attncli import attention, backbones
from attncli.backbones import pretrained, surgery, timm_networks, user_networks
from attncli.backbones.grey_stem import convert_stem_to_grey
from attncli.backbones.structure import NetworkStructure
from attncli.errors import UserError
from attncli.model.host_generators import seeded_generators
from attncli.model.meta_device import is_building_on_meta
from attncli.model.resolve import InputSpec, ResolvedModel
from attncli.recipe import Model
from attncli.seeds import derive_seed
from attncli.system.code_reference import is_code_reference

CIFAR_STEM_BELOW = 64  # images below this many pixels get the CIFAR stem
MAX_TRACED = 16  # plain networks whose shapes a process remembers
_traced_shapes: OrderedDict[str, surgery.ModuleShapes] = OrderedDict()


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


def build_backbone(
    resolved: ResolvedModel, spec: InputSpec, notify: Callable[[str], None] | None
) -> tuple[nn.Module, NetworkStructure]:
    """Build the plain network from the seed's stream "backbone", with pretrained weights if the recipe wants them.

    Its parts are those before its classifier averages over the frames of clips.
    """
    model = resolved.model
    with seeded_generators(derive_seed(resolved.seed, "backbone")):
        net, structure = build_plain_network(model, spec.classes, spec.size)
        if model.channels == 1:
            convert_stem_to_grey(net, model.backbone)
        if model.pretrained and not is_building_on_meta():
            loaded = pretrained.load(net, structure, model.backbone, model.pretrained)
            if notify:
                notify(loaded.format_summary())
        if spec.frames is not None:
            path = structure.classifier
            net.set_submodule(path, surgery.FrameAveragingHead(net.get_submodule(path), spec.frames))
    return net, structure


def zero_residual_branches(
    net: nn.Module,
    resolved: ResolvedModel,
    structure: NetworkStructure,
    notify: Callable[[str], None] | None = None,
) -> None:
    """Start each residual block as its shortcut if the recipe, or else the mechanism's card, wants that.

    Pretrained weights stay as they are. `notify` is told if the card wants it and no branch ends with a norm. Raises
    UserError if the recipe wants it, and none does.
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
    if not zeroed and notify:
        assert mechanism is not None
        notify(f"'{mechanism.name}' starts residual branches at zero, and none of {model.backbone} ends with a norm")


def trace_plain_network(net: nn.Module, model: Model, spec: InputSpec) -> surgery.ModuleShapes:
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
