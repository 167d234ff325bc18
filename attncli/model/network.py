"""Build the network of a recipe: a backbone with a mechanism at its sites, or a mechanism that is the whole network."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from attncli import attention, backbones
from attncli.attention import Mechanism
from attncli.attention.plugin_errors import plugin_errors
from attncli.attention.safe_convolution import replace_unsafe_convolutions
from attncli.backbones import pretrained, surgery
from attncli.backbones.lazy_layers import check_layers_made, list_lazy_layers
from attncli.backbones.placement import find_placements, order_insertions, remove_built_in_attention
from attncli.backbones.placement_request import PlacementRequest
from attncli.backbones.sites import Placement, is_map_site
from attncli.backbones.structure import NetworkStructure
from attncli.model.backbone import build_backbone, trace_plain_network, zero_residual_branches
from attncli.model.host_generators import seeded_generators
from attncli.model.mechanism import build_mechanism, check_map_shapes
from attncli.model.meta_device import is_building_on_meta
from attncli.model.resolve import InputSpec, ResolvedModel, check_model_settings, resolve_model
from attncli.recipe import Recipe
from attncli.seeds import derive_seed


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
    check_model_settings(resolved, spec)
    if resolved.family is None:
        net = _build_whole_network(resolved, spec)
    else:
        net, structure = build_backbone(resolved, spec, notify)
        zero_residual_branches(net, resolved, structure, notify)
        _insert_attention(net, resolved, structure, spec)
        if recipe.model.pretrained and not is_building_on_meta():
            _finish_pretrained_network(net, resolved, recipe.model.pretrained, notify)
        net = net if spec.frames is None else ClipNetwork(net)
    replace_unsafe_convolutions(net)
    if attention.is_plugin(recipe.model.attn):
        _try_user_mechanism(net, resolved, spec)
    return net


def _finish_pretrained_network(
    net: nn.Module, resolved: ResolvedModel, weights: bool | str, notify: Callable[[str], None] | None
) -> None:
    """Load the weights of the mechanisms, if a file has them, and tell what mechanisms do to the pretrained ones."""
    summary = pretrained.load_mechanisms(net, weights) if isinstance(weights, str) else None
    lines = [*([summary] if summary else []), *pretrained.pretraining_warnings(resolved.mechanism, net)]
    if lines and notify:
        notify("\n".join(lines))


def _build_whole_network(resolved: ResolvedModel, spec: InputSpec) -> nn.Module:
    site_arguments = {"classes": spec.classes, "size": spec.size, "channels_in": 3, "channels": 3}
    assert resolved.mechanism is not None
    return build_mechanism(resolved, resolved.mechanism, site_arguments, "model")


def _insert_attention(net: nn.Module, resolved: ResolvedModel, structure: NetworkStructure, spec: InputSpec) -> None:
    """Build the mechanism for each of its places and put it there; remove the attention that it replaces."""
    model, members = resolved.model, resolved.mechanism.members if resolved.mechanism is not None else ()
    cards = {member.reference: member.card for member in members}
    with plugin_errors(model.attn, "fails on a map of zeros"):
        placed_modules = [
            item for member in members for item in _build_at_places(net, resolved, member, structure, spec)
        ]
        if model.replace:
            remove_built_in_attention(net, structure, model.replace)
        for place, module in order_insertions(model.attn, placed_modules):
            if (parameter := cards[surgery.read_reference(module)].host_kernel) and place.position == "instead":
                surgery.copy_host_kernel(net, place.path, module, parameter)
            place.insert(net, module)


def _build_at_places(
    net: nn.Module, resolved: ResolvedModel, mechanism: Mechanism, structure: NetworkStructure, spec: InputSpec
) -> list[tuple[Placement, nn.Module]]:
    """Return the places of a mechanism in `net`, each with the module that was built for it; `net` stays as it is."""
    request = make_placement_request(resolved, mechanism, spec)
    places = find_placements(net, structure, request, trace_plain_network(net, resolved.model, spec))
    placed_modules = [(p, build_mechanism(resolved, mechanism, p.site_arguments, p.path, p.options)) for p in places]
    if is_map_site(resolved.model.site or mechanism.card.site):
        check_map_shapes(mechanism.reference, placed_modules, resolved.seed)
    return placed_modules


def make_placement_request(resolved: ResolvedModel, mechanism: Mechanism, spec: InputSpec) -> PlacementRequest:
    """Return what decides where a mechanism of a recipe goes in its network."""
    model = resolved.model
    return PlacementRequest(
        mechanism=mechanism,
        paper_site=backbones.get_paper_site(model.backbone, mechanism.card),
        size=spec.size,
        classes=spec.classes,
        frames=spec.frames,
        site=model.site,
        stages=model.stages,
        blocks=model.blocks,
        replace=model.replace,
    )


def _try_user_mechanism(net: nn.Module, resolved: ResolvedModel, spec: InputSpec) -> None:
    """Pass zeros forward and back through the network, so that a user's file fails before the training starts.

    Layers that the file makes in their first pass (`torch.nn.LazyConv2d`) are made here. A network that writes into
    the map that a mechanism returns (`out += identity`) destroys what a sigmoid keeps for its gradient. If the pass
    back fails, it is tried again with a copy of each returned map, which then stays.
    """
    frames = () if spec.frames is None else (spec.frames,)
    zeros = torch.zeros(2, *frames, 3, *spec.size)
    seed = derive_seed(resolved.seed, "mechanism", "first pass")
    failure = plugin_errors(resolved.model.attn, "does not fit the network", anywhere=True)
    with failure, seeded_generators(seed):
        if is_building_on_meta():
            if list_lazy_layers(net):
                net.eval()(zeros)
        else:
            try:
                _pass_forward_and_back(net, zeros, spec.classes)
            except RuntimeError:
                surgery.copy_outputs(net)
                _pass_forward_and_back(net, zeros, spec.classes)
        check_layers_made(net)
    net.train().zero_grad(set_to_none=True)
    replace_unsafe_convolutions(net)  # of the layers made just now


def _pass_forward_and_back(net: nn.Module, images: Tensor, classes: int) -> None:
    """Raise ValueError if the network does not return logits; and what it raises itself."""
    with torch.enable_grad():
        y = net.eval()(images)
        if y.shape != (len(images), classes):
            raise ValueError(f"it returns {tuple(y.shape)}, not {(len(images), classes)}")
        y.sum().backward()
