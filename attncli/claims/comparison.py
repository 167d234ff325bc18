"""One comparison of a claim, as those who decide it are asked."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from attncli.claims import language, networks
from attncli.claims.evaluate import Lookup
from attncli.claims.language import ComparisonLink, Expression, NetworkExpression, Quantity
from attncli.claims.networks import ImageSpec


@dataclass(frozen=True)
class ClaimComparison:
    """A comparison: its sides, the dataset it is claimed on, and who tells exact quantities and images."""

    left: Expression
    link: ComparisonLink
    on: str | None
    exact: Lookup
    images: Callable[[Quantity], ImageSpec]

    @property
    def text(self) -> str:
        """The comparison as it is written."""
        return f"{language.format_tree(self.left)} {language.format_tree(self.link)}"

    def list_quantities(self) -> list[Quantity]:
        """Its quantities from left to right, repeated ones too."""
        return [*language.iterate_quantities(self.left), *language.iterate_quantities(self.link)]


def find_network_key(quantity: Quantity) -> str:
    """The key of a quantity's network."""
    return _cached_network_key(quantity.network)


@cache
def _cached_network_key(network: NetworkExpression) -> str:
    return networks.make_network_key(networks.make_recipe(network).model)
