"""Tiny networks with any mechanism, and digits to look at, without training."""

from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from attncli import attention, data, model
from attncli.data.dataset import Dataset
from attncli.data.loader import BatchLayout, iterate_eval_batches
from attncli.interpret import LoadedRun
from attncli.recipe import Recipe
from attncli.run import make_input_spec
from tests.attention.case import randomise


def recipe(attn: str, **options: Any) -> Recipe:
    """resnet20 with a mechanism on the digits, or on clips of them where it works on frames."""
    frames = attn != "none" and attention.describe_mechanism(attn).card.site.startswith("frames")
    images = {"name": "clips", "of": "digits", "frames": 4} if frames else {"name": "digits"}
    plain = Recipe()
    return plain.model_copy(
        update={
            "data": plain.data.model_copy(update=images),
            "model": plain.model.model_copy(update={"attn": attn, "backbone": "resnet20", "options": options}),
        }
    )


@cache
def dataset(name: str, cache_: Path) -> Dataset:
    """The digits, or clips of them, read once."""
    attn = "tam" if name == "clips" else "none"
    return data.load(recipe(attn).data, cache=cache_)


def trained(attn: str, cache_: Path, *, random: bool = True, **options: Any) -> LoadedRun:
    """A network as if it were trained: with weights drawn at random, or as they are at the start."""
    made = recipe(attn, **options)
    images = dataset(made.data.name, cache_)
    net: nn.Module = model.build(made, make_input_spec(images))
    net = randomise(net) if random else net
    if attn in UNBOUNDED:
        settle_norms(net, images)
    return LoadedRun(Path("nowhere"), made, images, net.eval())


UNBOUNDED = {"cpca", "gam", "involution", "lambda", "lka"}  # their products overflow if norms expect other maps


def settle_norms(net: nn.Module, images: Dataset) -> None:
    """Make the running statistics of the norms those of 64 images, as the analysis hands them to the network."""
    for m in net.modules():
        if isinstance(m, nn.modules.batchnorm._BatchNorm):
            m.momentum = 1.0
    layout = BatchLayout(batch_size=64, device=torch.device("cpu"), channels_last=False)
    with torch.no_grad():
        net.train()(next(iter(iterate_eval_batches(images.test, images, layout)))[0])
