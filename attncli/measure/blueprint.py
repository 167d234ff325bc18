"""A recipe's network without its weights: enough to count what it costs, in a fraction of a second at any size."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

from attncli import model
from attncli.measure.activations import activation_bytes
from attncli.measure.counts import parameters, work
from attncli.model import Shape
from attncli.recipe import Recipe

T = TypeVar("T")


def count(recipe: Recipe, shape: Shape) -> int:
    """Number of parameters of the network that `recipe` builds for data of `shape`.

    Raises UserError where the mechanism does not fit the network or the data.
    """
    with torch.device("meta"):
        return parameters(model.build(recipe, shape))


def macs(recipe: Recipe, shape: Shape) -> int:
    """Its multiply-accumulates for one image, or clip; raises as `count` does."""
    return _seen(recipe, shape, lambda net: work(net, shape.size, shape.frames)[0])


def memory(recipe: Recipe, shape: Shape) -> int:
    """Bytes it keeps of one image, or clip, for the backward pass; raises as `count` does."""
    return _seen(recipe, shape, lambda net: activation_bytes(net, shape.size, shape.frames))


QUANTITIES: dict[str, Callable[[Recipe, Shape], int]] = {"params": count, "macs": macs, "memory": memory}


def _seen(recipe: Recipe, shape: Shape, look: Callable[[nn.Module], T]) -> T:
    """What `look` sees of the network; one that decides by the numbers it sees gets weights."""
    try:
        with torch.device("meta"):
            net = model.build(recipe, shape)
        return look(net)
    except NotImplementedError:  # a tensor without numbers was asked for them
        return look(model.build(recipe, shape))
