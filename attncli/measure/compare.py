"""The overhead of a recipe's mechanism without training: one record for the network and its baseline."""

from dataclasses import asdict, dataclass
from typing import Any

from attncli import attention, backbones, model
from attncli.errors import UserError
from attncli.measure.overhead import cost
from attncli.measure.timing import speed
from attncli.model import Shape
from attncli.recipe import Recipe
from attncli.records import Cost, Speed


@dataclass(frozen=True)
class Overhead:
    """What a mechanism costs on a backbone; `problem` says why it does not fit."""

    attn: str
    backbone: str
    category: str
    site: str
    cost: Cost | None = None
    speed: Speed | None = None
    problem: str = ""

    def plain(self) -> dict[str, Any]:
        """The figures as one flat mapping, as `measure --json` prints them."""
        figures: dict[str, Any] = dict.fromkeys(_FIGURES)
        for record in (self.cost, self.speed):
            if record is not None:
                figures.update(asdict(record))
        named = {"attn": self.attn, "backbone": self.backbone, "category": self.category, "site": self.site}
        return {**named, **figures, "problem": self.problem or None}


_FIGURES = (
    "params", "baseline_params", "macs", "baseline_macs", "train_images_per_s", "infer_images_per_s", "train_ratio",
    "infer_ratio",
)  # fmt: skip


def overhead(recipe: Recipe, shape: Shape, timed: bool) -> Overhead:
    """Count, and where `timed` time, a recipe's network against the same one without its mechanism.

    A mechanism that works on clips is measured on clips of `recipe.data.frames` frames, whatever `shape` says.
    What does not fit comes back with `problem` set.
    """
    name = recipe.model.attn
    site, category = "-", "-"
    if name != attention.NONE:
        described = attention.describe(name)
        site = recipe.model.site or backbones.own_site(recipe.model.backbone, described.card)
        category = described.category
        if site.startswith("frames") and shape.frames is None:
            shape = Shape(shape.classes, shape.size, recipe.data.frames)
    backbone = name if site == "model" else recipe.model.backbone
    try:
        net, baseline = model.build(recipe, shape), model.build(recipe.baseline(), shape)
        counted = cost(net, baseline, shape.size, frames=shape.frames)
        took = speed(net, baseline, recipe, shape.classes, shape.size, frames=shape.frames) if timed else None
    except UserError as error:
        return Overhead(name, backbone, category, site, problem=error.problem)
    return Overhead(name, backbone, category, site, counted, took)
