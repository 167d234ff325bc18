"""The matrix of mechanisms and backbones, found by building all: `python -m tests.matrix [BACKBONE ...]` writes it.

Each pair is built and goes forth and back in training, on tensors that have shapes and no numbers. What does not fit
is kept with its reason.
"""

import sys
from collections.abc import Callable
from functools import cache

import torch
import yaml
from torch import Tensor
from torch.nn import functional as F

from attncli import attention, backbones, model, validation
from attncli.backbones import compatibility, sites
from attncli.errors import UserError
from attncli.measure.fake_tensors import image_shape, run_on_fake_tensors
from attncli.recipe import Recipe

MECHANISMS = [n for n in attention.mechanism_names() if attention.describe_mechanism(n).card.site != "model"]
FRAMES = 8
HEAD = """\
# Which sites each backbone has, and which mechanisms do not fit it with the reason; all others do.
# At 224 px and 1000 classes, CIFAR's networks at 32 px and 10. Written by `python -m tests.matrix`.
"""


def shape_for(backbone: str, attn: str) -> model.InputSpec:
    """The images, or clips, that the matrix is about."""
    frames = FRAMES if attention.describe_mechanism(attn).card.site.startswith("frames") else None
    size = compatibility.matrix_image_size(backbone)
    return model.InputSpec(10 if size == compatibility.CIFAR_PIXELS else 1000, (size, size), frames)


def recipe(backbone: str, attn: str) -> Recipe:
    """The recipe of a pair."""
    return validation.read(None, [f"model.backbone={backbone}", f"model.attn={attn}"])


def problem(backbone: str, attn: str, step: bool = True) -> str | None:
    """Why a mechanism does not fit a backbone; None where it does and, with `step`, has gone forth and back."""
    shape = shape_for(backbone, attn)
    with torch.device("meta"):
        try:
            net = model.build(recipe(backbone, attn), shape)
        except UserError as error:
            return compatibility.shorten_problem(error.problem, available(backbone))

    def forth_and_back(network: Callable[[Tensor], Tensor], images: Tensor, _: set[int]) -> tuple[int, ...]:
        logits = network(images)
        F.cross_entropy(logits, torch.zeros(2, dtype=torch.long)).backward()
        return tuple(logits.shape)

    if step:
        images = image_shape(2, shape.size, shape.frames)
        assert run_on_fake_tensors(net, images, forth_and_back, training=True) == (2, shape.classes)
    return None


@cache
def available(backbone: str) -> list[str]:
    """The sites that a backbone has."""
    size = compatibility.matrix_image_size(backbone)
    with torch.device("meta"):
        net = backbones.load(backbone).build(backbone, 10, cifar_stem=size == compatibility.CIFAR_PIXELS)
    return list(sites.list_available_sites(net, backbones.load(backbone).anatomy(net), (size, size)))


def entry(backbone: str) -> dict[str, object]:
    """What the file says of a backbone."""
    refused = {attn: why for attn in MECHANISMS if (why := problem(backbone, attn))}
    return {"sites": available(backbone), **({"refused": refused} if refused else {})}


if __name__ == "__main__":
    known = (
        yaml.safe_load(compatibility.COMPATIBILITY_FILE.read_text(encoding="utf-8"))
        if compatibility.COMPATIBILITY_FILE.exists()
        else {}
    )
    whole = {}
    for name in backbones.backbone_names():
        anew = not sys.argv[1:] or name in sys.argv[1:]
        if anew:
            print(name, file=sys.stderr)
        whole[name] = entry(name) if anew else known[name]
    text = yaml.safe_dump(whole, sort_keys=False, width=110, default_flow_style=None)
    compatibility.COMPATIBILITY_FILE.write_text(HEAD + text, encoding="utf-8")
