"""A recipe's network without its weights: enough to count what it costs, in a fraction of a second at any size."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

from attncli import model
from attncli.measure.activation_memory import count_activation_bytes
from attncli.measure.flops import count_operations, count_parameters
from attncli.model import InputSpec
from attncli.recipe import Recipe

T = TypeVar("T")


def count_recipe_parameters(recipe: Recipe, shape: InputSpec) -> int:
    """Number of parameters of the network that `recipe` builds for data of `shape`.

    Raises UserError where the mechanism does not fit the network or the data.
    """
    with torch.device("meta"):
        return count_parameters(model.build(recipe, shape))


def count_recipe_macs(recipe: Recipe, shape: InputSpec) -> int:
    """Its multiply-accumulates for one image, or clip; raises as `count_recipe_parameters` does."""
    return _count_without_weights(recipe, shape, lambda net: count_operations(net, shape.size, shape.frames)[0])


def count_recipe_activation_bytes(recipe: Recipe, shape: InputSpec) -> int:
    """Bytes it keeps of one image, or clip, for the backward pass; raises as `count_recipe_parameters` does."""
    return _count_without_weights(recipe, shape, lambda net: count_activation_bytes(net, shape.size, shape.frames))


QUANTITIES: dict[str, Callable[[Recipe, InputSpec], int]] = {
    "params": count_recipe_parameters,
    "macs": count_recipe_macs,
    "memory": count_recipe_activation_bytes,
}


def _count_without_weights(recipe: Recipe, shape: InputSpec, count_in: Callable[[nn.Module], T]) -> T:
    """What `count_in` sees of the network; one that decides by the numbers it sees gets weights."""
    try:
        with torch.device("meta"):
            net = model.build(recipe, shape)
        return count_in(net)
    except NotImplementedError:  # a tensor without numbers was asked for them
        return count_in(model.build(recipe, shape))
