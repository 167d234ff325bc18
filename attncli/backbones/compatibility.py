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

COMPATIBILITY_FILE = Path(__file__).with_name("compatibility.yaml")
CIFAR_PIXELS, IMAGENET_PIXELS = 32, 224  # pixels of the images of CIFAR and of ImageNet


@dataclass(frozen=True)
class BackboneCompatibility:
    """The sites of a backbone, and the mechanisms that do not fit it with the reason."""

    sites: tuple[str, ...]
    refused: dict[str, str]

    def explain_misfit(self, mechanism: Mechanism, paper_site: str) -> str | None:
        """Why a mechanism does not fit with its card's site and blocks; None where it does."""
        if mechanism.name in self.refused:
            return self.refused[mechanism.name]
        return None if paper_site in self.sites else f"no site {paper_site}"


@cache
def load_compatibility() -> dict[str, BackboneCompatibility]:
    """By backbone, what the file says."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    entries = yaml.load(COMPATIBILITY_FILE.read_text(encoding="utf-8"), Loader=loader)
    return {
        name: BackboneCompatibility(tuple(entry["sites"]), entry.get("refused", {})) for name, entry in entries.items()
    }


def find_misfit(attn: str, backbone: str) -> str | None:
    """Why `attn` does not fit `backbone` at the size of its images; None where it does."""
    mechanism = attention.describe_mechanism(attn)
    return load_compatibility()[backbone].explain_misfit(mechanism, backbones.get_paper_site(backbone, mechanism.card))


def matrix_image_size(backbone: str) -> int:
    """Pixels of the images that the matrix is about: CIFAR's for its networks, else ImageNet's."""
    return CIFAR_PIXELS if backbone in CIFAR_BACKBONES else IMAGENET_PIXELS


def shorten_problem(problem: str, sites: Collection[str]) -> str:
    """A reason without what a matrix says itself, the mechanism's name and the backbone's, which has `sites`."""
    if problem.startswith("model.site: "):
        site = problem.removeprefix("model.site: ").partition(":")[0]
        return f"no site {site}" + (" in the blocks that its paper chooses" if site in sites else "")
    start, _, cause = problem.partition("): ")
    return f"{start.partition(' at ')[2].partition(' (')[0]}: {cause}" if cause else problem


CIFAR_BACKBONES = frozenset(
    name
    for name in backbones.backbone_names()
    if backbones.find_family(name) == "resnet_cifar"
    or (backbones.find_family(name) == "preact" and name != "preactresnet18")
)
