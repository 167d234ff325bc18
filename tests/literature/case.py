"""Our count of parameters of a published network."""

from functools import cache

from attncli import validation
from attncli.literature.published import PublishedNetwork
from attncli.measure.cost import count_recipe_parameters
from attncli.model import InputSpec


@cache
def count_parameters(network: PublishedNetwork) -> int:
    """Return the number of parameters that attncli's network has."""
    spec = InputSpec(network.classes, (network.size, network.size), network.frames)
    return count_recipe_parameters(validation.read(values=network.to_recipe_values()), spec)
