"""What a network costs beside its baseline, counted exactly, without timing anything.

Counting takes a tenth of a second, a long time beside an epoch of a small network, and the runs of a sweep share
their networks: the same one with other seeds, one baseline of all mechanisms. So a process remembers what it counted.
"""

import json
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from attncli.measure.activations import activation_bytes
from attncli.measure.counts import parameters, work
from attncli.measure.imagine import in_earnest
from attncli.model import Shape
from attncli.recipe import Recipe
from attncli.records import Cost

KEPT = 64  # networks


@dataclass(frozen=True, kw_only=True)
class Count:
    """One network's figures for one image, or clip."""

    params: int
    macs: int
    elementwise: int
    activation_bytes: int


_known: OrderedDict[str, Count] = OrderedDict()


def cost(model: nn.Module, baseline: nn.Module, size: tuple[int, int], frames: int | None = None) -> Cost:
    """Parameters, MACs, element-wise work and activation memory of both networks for one image (H, W).

    For clips, `frames` is T and every figure is that of one clip. Neither network is changed, moved or run.
    """
    return _beside(_count(model, size, frames), _count(baseline, size, frames), size)


def cost_of(recipe: Recipe, shape: Shape, net: nn.Module, baseline: Callable[[], nn.Module]) -> Cost:
    """The cost of a recipe's network `net`, as far as it was not counted before in this process.

    `baseline` makes the plain network, where that has to be counted too.
    """
    own, plain = counted(recipe, shape, lambda: net), counted(recipe.baseline(), shape, baseline)
    return _beside(own, plain, shape.size)


def counted(recipe: Recipe, shape: Shape, make: Callable[[], nn.Module]) -> Count:
    """The figures of a recipe's network, which `make` gives, for images of `shape`; remembered.

    A user's own file counts by its content. A network that has to be run in earnest may do other work with other
    weights: it is counted each time.
    """
    key = json.dumps([recipe.identity()["model"], shape.classes, *shape.size, shape.frames], sort_keys=True)
    if key in _known:
        _known.move_to_end(key)
        return _known[key]
    before = in_earnest()
    found = _count(make(), shape.size, shape.frames)
    if in_earnest() == before:
        _known[key] = found
        while len(_known) > KEPT:
            _known.popitem(last=False)
    return found


def _count(net: nn.Module, size: tuple[int, int], frames: int | None) -> Count:
    macs, elementwise = work(net, size, frames)
    return Count(
        params=parameters(net),
        macs=macs,
        elementwise=elementwise,
        activation_bytes=activation_bytes(net, size, frames),
    )


def _beside(own: Count, plain: Count, size: tuple[int, int]) -> Cost:
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
