"""Our count of parameters beside the published one. Loads torch."""

from functools import cache

from attncli import validation
from attncli.literature.published import ParameterMatch, PublishedNetwork, PublishedRow
from attncli.measure.cost import count_recipe_parameters
from attncli.model import InputSpec


@cache
def count_published_parameters(network: PublishedNetwork) -> int:
    """Number of parameters of a network. Raises UserError where it can't be built."""
    shape = InputSpec(network.classes, (network.size, network.size), network.frames)
    return count_recipe_parameters(validation.read(values=network.to_recipe_values()), shape)


def count_row_parameters(row: PublishedRow) -> int | None:
    """The parameters that the row's network has here; None where the row has no match."""
    return count_published_parameters(row.match.network) if isinstance(row.match, ParameterMatch) else None
