"""Count exactly what a network costs in comparison with its baseline, without timing anything.

Counting takes about 0.2 s, which is long in comparison with an epoch of a small network. The runs of a sweep share
their networks: the same one with other seeds, and one baseline for all mechanisms. So a process remembers its counts,
and those of networks that consist of the code of attncli and torchvision are kept in a file for other processes.

The counts of a recipe (`QUANTITIES`) need no weights: they take a fraction of a second at any size.
"""

import json
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from attncli import attention, model
from attncli.backbones import TIMM_PREFIX
from attncli.measure.activation_memory import count_activation_bytes
from attncli.measure.code_cache import read_values, stamp_code, write_values
from attncli.measure.fake_tensors import SkipFilling, count_real_runs
from attncli.measure.flops import count_operations, count_parameters
from attncli.model import InputSpec
from attncli.recipe import Recipe
from attncli.records import Cost
from attncli.system.code_reference import is_code_reference

T = TypeVar("T")
MAX_REMEMBERED = 64  # networks
COUNTS_FILE, MAX_KEPT = "counts", 512  # file in the folder for caches, and networks in it
COUNTED_PARTS = ("attention", "backbones", "measure", "model")  # of the package: what decides the counts


@dataclass(frozen=True, kw_only=True)
class NetworkCounts:
    """Figures of one network for one image, or clip."""

    params: int
    macs: int
    elementwise: int
    activation_bytes: int


_remembered_counts: OrderedDict[str, NetworkCounts] = OrderedDict()


def count_recipe_cost(
    recipe: Recipe,
    shape: InputSpec,
    net: nn.Module,
    build_baseline: Callable[[], nn.Module],
    cache_folder: Path | None = None,
) -> Cost:
    """Return the cost of a recipe's network `net`, counted only if it was not counted before.

    Args:
        recipe: The recipe.
        shape: The images.
        net: Its network.
        build_baseline: Builds the plain network, if that has to be counted too.
        cache_folder: Keeps the counts for other processes.
    """
    own = count_once(recipe, shape, lambda: net, cache_folder)
    plain = count_once(recipe.make_baseline(), shape, build_baseline, cache_folder)
    return _make_cost(own, plain, shape.size)


def count_overhead(recipe: Recipe, shape: InputSpec) -> Cost:
    """Return the cost of the network that `recipe` builds; raises as `count_recipe` does."""
    return _make_cost(count_recipe(recipe, shape), count_recipe(recipe.make_baseline(), shape), shape.size)


def count_once(
    recipe: Recipe, shape: InputSpec, build_network: Callable[[], nn.Module], cache_folder: Path | None = None
) -> NetworkCounts:
    """Return the figures of a recipe's network for images of `shape`, and remember them.

    `build_network` builds it, if it was not counted before. A user-defined mechanism is known by the content of its
    file. A network that has to be run with real tensors may do other work with other weights: it is counted each time.
    `cache_folder` keeps the counts for other processes, of networks without code of other packages.
    """
    key = json.dumps([recipe.build_identity()["model"], shape.classes, *shape.size, shape.frames], sort_keys=True)
    if key in _remembered_counts:
        _remembered_counts.move_to_end(key)
        return _remembered_counts[key]
    if cache_folder is not None and _has_foreign_code(recipe):
        cache_folder = None
    if cache_folder is not None and (kept := _read_kept_counts(cache_folder).get(key)) is not None:
        return _remember(key, kept)
    real_runs_before = count_real_runs()
    counts = count_network(build_network(), shape.size, shape.frames)
    if count_real_runs() == real_runs_before:
        _remember(key, counts)
        if cache_folder is not None:
            _keep_counts(cache_folder, key, counts)
    return counts


def _remember(key: str, counts: NetworkCounts) -> NetworkCounts:
    _remembered_counts[key] = counts
    while len(_remembered_counts) > MAX_REMEMBERED:
        _remembered_counts.popitem(last=False)
    return counts


def _has_foreign_code(recipe: Recipe) -> bool:
    """Return whether a network consists of code that is neither attncli's nor torchvision's."""
    backbone = recipe.model.backbone
    is_foreign_backbone = is_code_reference(backbone) or backbone.startswith(TIMM_PREFIX)
    return attention.is_plugin(recipe.model.attn) or is_foreign_backbone


def _read_kept_counts(cache_folder: Path) -> dict[str, NetworkCounts]:
    """Return the counts of earlier processes with this code; those in another form are left out."""
    kept = {}
    for key, figures in read_values(cache_folder, COUNTS_FILE, stamp_code(COUNTED_PARTS)).items():
        with suppress(TypeError):
            kept[key] = NetworkCounts(**figures)
    return kept


def _keep_counts(cache_folder: Path, key: str, counts: NetworkCounts) -> None:
    kept = _read_kept_counts(cache_folder) | {key: counts}
    newest = {key: asdict(kept[key]) for key in list(kept)[-MAX_KEPT:]}
    write_values(cache_folder, COUNTS_FILE, stamp_code(COUNTED_PARTS), newest)


def count_recipe(recipe: Recipe, shape: InputSpec) -> NetworkCounts:
    """Return the figures of the network that `recipe` builds for data of `shape`; once counted they are remembered.

    The network is built without weights, unless they are needed: to run a user's mechanism, whose shapes are checked,
    or one whose work depends on values. Raises UserError if the mechanism does not fit the network or the data.
    """
    if attention.is_plugin(recipe.model.attn):
        return count_once(recipe, shape, lambda: model.build(recipe, shape))
    try:
        return count_once(recipe, shape, lambda: _build_without_weights(recipe, shape))
    except NotImplementedError:  # a tensor without values was asked for them
        return count_once(recipe, shape, lambda: model.build(recipe, shape))


def _build_without_weights(recipe: Recipe, shape: InputSpec) -> nn.Module:
    with torch.device("meta"), SkipFilling():
        return model.build(recipe, shape)


def count_network(net: nn.Module, size: tuple[int, int], frames: int | None = None) -> NetworkCounts:
    """Count the figures of a network for one image of `size` (H, W), or one clip of `frames` images.

    The network is not changed or moved, and run only if it asks for the values of a tensor.
    """
    macs, elementwise = count_operations(net, size, frames)
    return NetworkCounts(
        params=count_parameters(net),
        macs=macs,
        elementwise=elementwise,
        activation_bytes=count_activation_bytes(net, size, frames),
    )


def _make_cost(own: NetworkCounts, plain: NetworkCounts, size: tuple[int, int]) -> Cost:
    return Cost(
        params=own.params,
        baseline_params=plain.params,
        macs=own.macs,
        baseline_macs=plain.macs,
        elementwise=own.elementwise,
        baseline_elementwise=plain.elementwise,
        activation_bytes=own.activation_bytes,
        baseline_activation_bytes=plain.activation_bytes,
        image_size=max(size),
    )


def count_recipe_parameters(recipe: Recipe, shape: InputSpec) -> int:
    """Return the number of parameters of the network that `recipe` builds for data of `shape`.

    Raises UserError if the mechanism does not fit the network or the data.
    """
    return count_parameters(_build_without_weights(recipe, shape))


def count_recipe_macs(recipe: Recipe, shape: InputSpec) -> int:
    """Return its multiply-accumulates for one image, or clip; raises as `count_recipe_parameters` does."""
    return _count_without_weights(recipe, shape, lambda net: count_operations(net, shape.size, shape.frames)[0])


def count_recipe_activation_bytes(recipe: Recipe, shape: InputSpec) -> int:
    """Return the bytes kept of one image, or clip, for the backward pass; raises as `count_recipe_parameters` does."""
    return _count_without_weights(recipe, shape, lambda net: count_activation_bytes(net, shape.size, shape.frames))


QUANTITIES: dict[str, Callable[[Recipe, InputSpec], int]] = {
    "params": count_recipe_parameters,
    "macs": count_recipe_macs,
    "memory": count_recipe_activation_bytes,
}


def _count_without_weights(recipe: Recipe, shape: InputSpec, count_in: Callable[[nn.Module], T]) -> T:
    """Return what `count_in` counts of the network; it gets weights only if it needs their values."""
    try:
        return count_in(_build_without_weights(recipe, shape))
    except NotImplementedError:  # a tensor without values was asked for them
        return count_in(model.build(recipe, shape))
