"""Which mechanisms fit which backbones, as was found by building every pair; no torch needed.

`fits.yaml` says it for every backbone of ours and every mechanism of ours; of other mechanisms it is known from the
site alone. `tests/matrix.py` writes the file, and tests hold it to what is really built.
"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from attncli import attention, backbones
from attncli.attention import Mechanism

FILE = Path(__file__).with_name("fits.yaml")
SMALL, LARGE = 32, 224  # pixels of the images of CIFAR and of ImageNet


@dataclass(frozen=True)
class Fits:
    """The sites of a backbone, and the mechanisms that do not fit it with the reason."""

    sites: tuple[str, ...]
    refused: dict[str, str]

    def reason(self, mechanism: Mechanism, own_site: str) -> str | None:
        """Why a mechanism does not fit with its card's site and blocks; None where it does."""
        if mechanism.name in self.refused:
            return self.refused[mechanism.name]
        return None if own_site in self.sites else f"no site {own_site}"


@cache
def found() -> dict[str, Fits]:
    """By backbone, what the file says."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    read = yaml.load(FILE.read_text(encoding="utf-8"), Loader=loader)
    return {name: Fits(tuple(entry["sites"]), entry.get("refused", {})) for name, entry in read.items()}


def reason(attn: str, backbone: str) -> str | None:
    """Why `attn` does not fit `backbone` at the size of its images; None where it does."""
    mechanism = attention.describe(attn)
    return found()[backbone].reason(mechanism, backbones.own_site(backbone, mechanism.card))


def size(backbone: str) -> int:
    """Pixels of the images that the matrix is about: CIFAR's for its networks, else ImageNet's."""
    return SMALL if backbone in CIFAR else LARGE


def brief(problem: str, sites: Collection[str]) -> str:
    """A reason without what a matrix says itself, the mechanism's name and the backbone's, which has `sites`."""
    if problem.startswith("model.site: "):
        site = problem.removeprefix("model.site: ").partition(":")[0]
        return f"no site {site}" + (" in the blocks that its paper chooses" if site in sites else "")
    where, _, why = problem.partition("): ")
    return f"{where.partition(' at ')[2].partition(' (')[0]}: {why}" if why else problem


CIFAR = frozenset(
    name
    for name in backbones.names()
    if backbones.family(name) == "resnet_cifar" or (backbones.family(name) == "preact" and name != "preactresnet18")
)
