"""Build one module of a mechanism for one place in a network, and check what it returns."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from attncli import attention
from attncli.attention import Mechanism
from attncli.attention.plugin_errors import plugin_errors
from attncli.backbones import surgery
from attncli.backbones.sites import Placement
from attncli.errors import UserError
from attncli.model.host_generators import seeded_generators
from attncli.model.meta_device import is_building_on_meta
from attncli.model.resolve import ResolvedModel
from attncli.seeds import derive_seed

MOST_TRIED_SIDE = 32  # of the maps on which a mechanism that does not fit is tried


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
    with seeded_generators(derive_seed(resolved.seed, "mechanism", path)):
        try:
            with plugin_errors(model.attn, f"fails for {path} ({_format_arguments(arguments)})"):
                module = attention.load_class(mechanism.reference)(**arguments, **options)
        except (ValueError, TypeError) as error:
            raise _make_misfit_error(resolved, mechanism, path, arguments, options, error) from error
    if not isinstance(module, nn.Module):
        raise UserError(f"attention '{mechanism.reference}': not a torch.nn.Module", "derive the class from nn.Module")
    surgery.mark_mechanism(module, mechanism.reference)
    return module


def _make_misfit_error(
    resolved: ResolvedModel,
    mechanism: Mechanism,
    path: str,
    arguments: Mapping[str, Any],
    options: Mapping[str, Any],
    error: Exception,
) -> UserError:
    """Return the error for a mechanism whose constructor refuses a place: where it fits, and on maps of which size."""
    if resolved.is_whole_network:
        failure, other_places = "cannot be built", ""
    else:
        failure = f"does not fit {resolved.model.backbone} at {path}"
        other_places = "; model.stages and model.blocks choose places where it fits"
    side = _find_smallest_side(attention.load_class(mechanism.reference), arguments, options)
    if side is not None:
        other_places += f"; the smallest map is {side} x {side}: larger images (--image-size)"
    return UserError(
        f"attention '{mechanism.reference}' {failure} ({_format_arguments(arguments)}): {error}",
        f"`attncli show {mechanism.reference}` prints what it needs{other_places}",
    )


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


def _format_arguments(arguments: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name}={'x'.join(map(str, value)) if isinstance(value, tuple) else value}"
        for name, value in arguments.items()
    )


def check_map_shapes(attn: str, placed_mechanisms: Sequence[tuple[Placement, nn.Module]], seed: int) -> None:
    """Raise UserError if the mechanism changes the shape of a map; one pass of zeros for each shape shows it.

    A user's mechanism passes zeros at each place, because it may make layers in its first pass: their weights are drawn
    from a random stream of that place. Nothing else is done on the meta device, where a network is built only to be
    counted.
    """
    checked_shapes = set()
    for placement, module in placed_mechanisms:
        shape = (2, placement.site_arguments["channels"], *placement.site_arguments["size"])
        if is_building_on_meta() or (shape in checked_shapes and not attention.is_plugin(attn)):
            continue
        checked_shapes.add(shape)
        failure = plugin_errors(attn, f"fails on a map of zeros of the shape {shape}", anywhere=True)
        with failure, torch.no_grad(), seeded_generators(derive_seed(seed, "mechanism", placement.path, "first pass")):
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
