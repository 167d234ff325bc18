"""One comparison of a claim, as those who decide it are asked."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from attncli.survey import language, networks
from attncli.survey.evaluate import Lookup
from attncli.survey.language import Expression, Link, Network, Quantity
from attncli.survey.networks import Images


@dataclass(frozen=True)
class Question:
    """A comparison: its sides, the dataset it is claimed on, and who tells exact quantities and images."""

    left: Expression
    link: Link
    on: str | None
    exact: Lookup
    images: Callable[[Quantity], Images]

    @property
    def text(self) -> str:
        """The comparison as it is written."""
        return f"{language.write(self.left)} {language.write(self.link)}"

    def quantities(self) -> list[Quantity]:
        """Its quantities from left to right, repeated ones too."""
        return [*language.quantities(self.left), *language.quantities(self.link)]


def network(quantity: Quantity) -> str:
    """The key of a quantity's network."""
    return _key(quantity.network)


@cache
def _key(network: Network) -> str:
    return networks.key(networks.recipe(network).model)
