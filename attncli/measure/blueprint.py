"""A recipe's network without its weights: enough to count its parameters, in a fraction of a second at any size."""

import torch

from attncli import model
from attncli.measure.counts import parameters
from attncli.model import Shape
from attncli.recipe import Recipe


def count(recipe: Recipe, shape: Shape) -> int:
    """Number of parameters of the network that `recipe` builds for data of `shape`.

    Raises UserError where the mechanism does not fit the network or the data.
    """
    with torch.device("meta"):
        return parameters(model.build(recipe, shape))
