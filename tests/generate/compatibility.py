"""Generate `attncli/backbones/compatibility.yaml`: build every pair of mechanism and backbone.

Each pair runs a forward and a backward pass in training, on tensors that have shapes and no data. What does not fit is
kept with its reason.
"""

import sys
from collections.abc import Callable, Collection, Set
from functools import cache
from typing import Any

import torch
import yaml
from torch import Tensor
from torch.nn import functional as F

from attncli import attention, backbones, model, validation
from attncli.backbones import compatibility, placement, surgery
from attncli.backbones.compatibility import CIFAR_PIXELS, COMPATIBILITY_FILE, IMAGENET_PIXELS
from attncli.errors import UserError
from attncli.measure.cost import count_recipe_parameters
from attncli.measure.fake_tensors import image_shape, run_on_fake_tensors
from attncli.recipe import Recipe
from tests.generate.parameters import FRAMES, NETWORKS, count_added

HEADER = """\
# Which sites each backbone has, and which of `mechanisms` do not fit it, with the reason; all others of them do.
# `parameters` are those that a mechanism adds to two networks, `params` those of a backbone, and `branch_norms` is how
# many of its residual branches end with a norm. At 224 px and 1000 classes; CIFAR's networks at 32 px and 10 classes.
# Written by `make generate`.
"""


def list_mechanisms() -> list[str]:
    """Return our mechanisms that are put into a backbone."""
    return [
        name
        for name in attention.mechanism_names()
        if not attention.is_plugin(name) and not attention.is_whole_network(name)
    ]


@cache
def find_image_side(backbone: str) -> int:
    """Return the pixels of the images that the file is about: CIFAR's for its networks, else ImageNet's."""
    return CIFAR_PIXELS if compatibility.is_cifar_network(backbone) else IMAGENET_PIXELS


def make_input_spec(backbone: str, attn: str) -> model.InputSpec:
    """Return the images, or clips, that the file is about."""
    side = find_image_side(backbone)
    frames = FRAMES if attn != attention.NONE and attention.describe_mechanism(attn).needs_clips else None
    return model.InputSpec(10 if side == CIFAR_PIXELS else 1000, (side, side), frames)


def make_recipe(backbone: str, attn: str) -> Recipe:
    """Return the recipe of a pair."""
    return validation.read(None, [f"model.backbone={backbone}", f"model.attn={attn}"])


def find_problem(backbone: str, attn: str, with_step: bool = True) -> str | None:
    """Return why a mechanism does not fit a backbone, or None if it does.

    Args:
        backbone: The backbone.
        attn: The mechanism.
        with_step: Run a forward and a backward pass too, and not only build the network.
    """
    spec = make_input_spec(backbone, attn)
    with torch.device("meta"):
        try:
            net = model.build(make_recipe(backbone, attn), spec)
        except UserError as error:
            return shorten_problem(error.problem, list_sites(backbone))

    def run_step(network: Callable[[Tensor], Tensor], images: Tensor, _: set[int]) -> tuple[int, ...]:
        logits = network(images)
        F.cross_entropy(logits, torch.zeros(2, dtype=torch.long)).backward()
        return tuple(logits.shape)

    if with_step:
        images = image_shape(2, spec.size, spec.frames)
        assert run_on_fake_tensors(net, images, run_step, training=True) == (2, spec.classes)
    return None


def shorten_problem(problem: str, available_sites: Collection[str]) -> str:
    """Return a reason without the names of mechanism and backbone, which stand beside it in the file."""
    if problem.startswith("model.site: "):
        site = problem.removeprefix("model.site: ").partition(":")[0]
        return f"no site {site}" + (" in the blocks that its paper chooses" if site in available_sites else "")
    start, _, cause = problem.partition("): ")
    return f"{start.partition(' at ')[2].partition(' (')[0]}: {cause}" if cause else problem


@cache
def list_sites(backbone: str) -> list[str]:
    """Return the sites that a backbone has."""
    side, family = find_image_side(backbone), backbones.load(backbone)
    with torch.device("meta"):
        net = family.build(backbone, 10, cifar_stem=side == CIFAR_PIXELS)
    return list(placement.list_available_sites(net, family.find_structure(net), (side, side)))


@cache
def count_branch_norms(backbone: str) -> int:
    """Return how many residual branches of a backbone end with a norm, which can start at zero."""
    family = backbones.load(backbone)
    with torch.device("meta"):
        net = family.build(backbone, 10, cifar_stem=find_image_side(backbone) == CIFAR_PIXELS)
    return len(surgery.list_branch_norms(net, family.find_structure(net)))


def count_plain(backbone: str) -> int:
    """Return the parameters of a backbone."""
    return count_recipe_parameters(make_recipe(backbone, attention.NONE), make_input_spec(backbone, attention.NONE))


def make_entry(backbone: str, names: Set[str]) -> dict[str, Any]:
    """Return what the file says about a backbone; pairs with a name in `names`, or not in the file, are built."""
    tried = compatibility.tried_mechanisms()
    known = None if backbone in names else compatibility.load_compatibility().get(backbone)
    refused = {}
    for attn in list_mechanisms():
        is_known = known is not None and attn in tried and attn not in names
        if problem := known.refused.get(attn) if known and is_known else find_problem(backbone, attn):
            refused[attn] = problem
    return {
        "params": count_plain(backbone),
        "branch_norms": count_branch_norms(backbone),
        "sites": list_sites(backbone),
        **({"refused": refused} if refused else {}),
    }


def write_file(names: Set[str]) -> None:
    """Write the file; pairs with a mechanism or backbone in `names`, or that are not in it, are built."""
    entries = {}
    for backbone in backbones.backbone_names():
        print(backbone, file=sys.stderr)
        entries[backbone] = make_entry(backbone, names)
    own = [name for name in attention.mechanism_names() if not attention.is_plugin(name)]
    added = {name: {backbone: count_added(backbone, name) for backbone in NETWORKS} for name in own}
    contents = {"mechanisms": list_mechanisms(), "parameters": added, "backbones": entries}
    text = yaml.safe_dump(contents, sort_keys=False, width=110, default_flow_style=None)
    COMPATIBILITY_FILE.write_text(HEADER + text, encoding="utf-8")
    compatibility.clear_cache()
