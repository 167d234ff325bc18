"""Our count of parameters beside the published one. Loads torch."""

from functools import cache

from attncli import check
from attncli.measure import blueprint
from attncli.model import Shape
from attncli.survey.published import Match, Network, Row


@cache
def parameters(network: Network) -> int:
    """Number of parameters of a network. Raises UserError where it can't be built."""
    shape = Shape(network.classes, (network.size, network.size), network.frames)
    return blueprint.count(check.read(values=network.keys()), shape)


def ours(row: Row) -> int | None:
    """The parameters that the row's network has here; None where the row has no match."""
    return parameters(row.match.network) if isinstance(row.match, Match) else None
