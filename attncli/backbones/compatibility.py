"""Which mechanisms fit which backbones, found by building every pair; needs no torch.

`compatibility.yaml` knows this for every backbone and mechanism of ours: `make generate` writes it, and tests compare
it with what is really built. For any other pair only the site says whether it can fit.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from attncli import attention, backbones
from attncli.attention import Mechanism
from attncli.recipe import parse_yaml

COMPATIBILITY_FILE = Path(__file__).with_name("compatibility.yaml")
CIFAR_PIXELS, IMAGENET_PIXELS = 32, 224  # pixels of the images of CIFAR and of ImageNet
LARGE_FOR_CIFAR = 128  # pixels from which images are large for a network that is made for 32


def is_cifar_network(backbone: str) -> bool:
    """Return whether a backbone is made for images of 32 px only: its stages are 32, 16 and 8 px there."""
    family = backbones.find_family(backbone)
    return family == "resnet_cifar" or (family == "preact" and backbone != "preactresnet18")


def describe_large_images(backbone: str, size: tuple[int, int]) -> str | None:
    """Return a warning if a network for images of 32 px gets much larger ones, of `size` (H, W), else None."""
    if not is_cifar_network(backbone) or min(size) < LARGE_FOR_CIFAR:
        return None
    times = size[0] * size[1] / CIFAR_PIXELS**2
    return (
        f"{backbone} is made for images of 32 px: at {size[0]}x{size[1]} px one costs about {times:.0f} times as much; "
        "--image-size 32, or a network such as resnet18, avoids that"
    )


@dataclass(frozen=True)
class BackboneCompatibility:
    """The sites of a backbone, the mechanisms that do not fit it with the reason, and its residual branches' norms.

    `branch_norms` is the number of residual branches that end with a norm; None if the file does not say it.
    """

    sites: tuple[str, ...]
    refused: dict[str, str]
    branch_norms: int | None = None

    def explain_misfit(self, mechanism: Mechanism, paper_site: str) -> str | None:
        """Return why a mechanism does not fit with its card's site and blocks, or None if no reason is known."""
        if mechanism.name in self.refused:
            return self.refused[mechanism.name]
        return None if paper_site in self.sites else f"no site {paper_site}"


@cache
def _read_contents() -> dict[str, Any]:
    contents: dict[str, Any] = parse_yaml(COMPATIBILITY_FILE.read_text(encoding="utf-8"))
    return contents


@cache
def read_file() -> tuple[frozenset[str], dict[str, BackboneCompatibility]]:
    """Return the mechanisms that were tried, and the entry of each backbone."""
    contents = _read_contents()
    entries = {
        name: BackboneCompatibility(tuple(entry["sites"]), entry.get("refused", {}), entry.get("branch_norms"))
        for name, entry in contents["backbones"].items()
    }
    return frozenset(contents["mechanisms"]), entries


def clear_cache() -> None:
    """Forget the file's contents, after it was written."""
    _read_contents.cache_clear()
    read_file.cache_clear()


def load_added_parameters() -> dict[str, dict[str, int | None]]:
    """Return what each mechanism of ours adds to resnet20 and resnet50; None if it does not fit or is a whole network.

    Temporal mechanisms are counted with 8 frames.
    """
    added: dict[str, dict[str, int | None]] = _read_contents().get("parameters", {})
    return added


def load_backbone_parameters() -> dict[str, int]:
    """Return the parameters of each backbone: for 1000 classes, for CIFAR's networks 10."""
    return {name: entry["params"] for name, entry in _read_contents()["backbones"].items()}


def load_compatibility() -> dict[str, BackboneCompatibility]:
    """Return what the file says about each backbone."""
    return read_file()[1]


def tried_mechanisms() -> frozenset[str]:
    """Return the mechanisms that were built in every backbone of the file."""
    return read_file()[0]


def list_sites(backbone: str) -> tuple[str, ...] | None:
    """Return the sites of a backbone, or None if the file does not know it yet."""
    entry = load_compatibility().get(backbone)
    return entry.sites if entry else None


def has_branch_norms(backbone: str) -> bool:
    """Return whether a norm ends residual branches of a backbone, so that they can start at zero; true if unknown."""
    entry = load_compatibility().get(backbone)
    return entry is None or entry.branch_norms != 0


def find_misfit(attn: str, backbone: str) -> str | None:
    """Return why `attn` does not fit `backbone` at the size of its images, or None if no reason is known."""
    entry, mechanism = load_compatibility().get(backbone), attention.describe_mechanism(attn)
    paper_site = backbones.get_paper_site(backbone, mechanism.card)
    return entry.explain_misfit(mechanism, paper_site) if entry else None


def is_tried(attn: str, backbone: str) -> bool:
    """Return whether the file knows the pair because it was built."""
    return attn in tried_mechanisms() and backbone in load_compatibility()
