"""One comparison of a claim, with what is needed to decide it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from attncli.analysis.network_key import ImageSpec, make_network_key
from attncli.claims import language, networks
from attncli.claims.evaluate import Lookup
from attncli.claims.language import ComparisonLink, Expression, NetworkExpression, Quantity


@dataclass(frozen=True)
class ClaimComparison:
    """A comparison: its sides, the dataset it is claimed on, and how to look up exact quantities and images."""

    left: Expression
    link: ComparisonLink
    on: str | None
    exact: Lookup
    images: Callable[[Quantity], ImageSpec]

    @property
    def text(self) -> str:
        """The comparison as text."""
        return f"{language.format_tree(self.left)} {language.format_tree(self.link)}"

    def list_quantities(self) -> list[Quantity]:
        """Return its quantities from left to right, repeated ones too."""
        return [*language.iterate_quantities(self.left), *language.iterate_quantities(self.link)]


def find_network_key(quantity: Quantity) -> str:
    """Return the key of a quantity's network."""
    return _cached_network_key(quantity.network)


@cache
def _cached_network_key(network: NetworkExpression) -> str:
    return make_network_key(networks.make_recipe(network).model)
