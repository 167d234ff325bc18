"""Count exactly what a network costs in comparison with its baseline, without timing anything.

Counting takes about 0.1 s, which is long in comparison with an epoch of a small network. The runs of a sweep share
their networks: the same one with other seeds, and one baseline for all mechanisms. So a process remembers its counts.

The counts of a recipe (`QUANTITIES`) need no weights: they take a fraction of a second at any size.
"""

import json
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import nn

from attncli import attention, model
from attncli.measure.activation_memory import count_activation_bytes
from attncli.measure.fake_tensors import SkipFilling, count_real_runs
from attncli.measure.flops import count_operations, count_parameters
from attncli.model import InputSpec
from attncli.recipe import Recipe
from attncli.records import Cost

T = TypeVar("T")
MAX_REMEMBERED = 64  # networks


@dataclass(frozen=True, kw_only=True)
class NetworkCounts:
    """Figures of one network for one image, or clip."""

    params: int
    macs: int
    elementwise: int
    activation_bytes: int


_remembered_counts: OrderedDict[str, NetworkCounts] = OrderedDict()


def count_cost(net: nn.Module, baseline: nn.Module, size: tuple[int, int], frames: int | None = None) -> Cost:
    """Count parameters, MACs, element-wise work and activation memory of both networks for one image (H, W).

    For clips, `frames` is T and every figure is for one clip. Neither network is changed, moved or run.
    """
    return _make_cost(_count_network(net, size, frames), _count_network(baseline, size, frames), size)


def count_recipe_cost(
    recipe: Recipe, shape: InputSpec, net: nn.Module, build_baseline: Callable[[], nn.Module]
) -> Cost:
    """Return the cost of a recipe's network `net`, counted only if this process has not counted it before.

    `build_baseline` builds the plain network, if that has to be counted too.
    """
    own, plain = count_once(recipe, shape, lambda: net), count_once(recipe.make_baseline(), shape, build_baseline)
    return _make_cost(own, plain, shape.size)


def count_overhead(recipe: Recipe, shape: InputSpec) -> Cost:
    """Return the cost of the network that `recipe` builds; raises as `count_recipe` does."""
    return _make_cost(count_recipe(recipe, shape), count_recipe(recipe.make_baseline(), shape), shape.size)


def count_once(recipe: Recipe, shape: InputSpec, build_network: Callable[[], nn.Module]) -> NetworkCounts:
    """Return the figures of a recipe's network for images of `shape`, and remember them.

    `build_network` builds it, if it was not counted before. A user-defined mechanism is known by the content of its
    file. A network that has to be run with real tensors may do other work with other weights: it is counted each time.
    """
    key = json.dumps([recipe.build_identity()["model"], shape.classes, *shape.size, shape.frames], sort_keys=True)
    if key in _remembered_counts:
        _remembered_counts.move_to_end(key)
        return _remembered_counts[key]
    real_runs_before = count_real_runs()
    counts = _count_network(build_network(), shape.size, shape.frames)
    if count_real_runs() == real_runs_before:
        _remembered_counts[key] = counts
        while len(_remembered_counts) > MAX_REMEMBERED:
            _remembered_counts.popitem(last=False)
    return counts


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


def _count_network(net: nn.Module, size: tuple[int, int], frames: int | None) -> NetworkCounts:
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
