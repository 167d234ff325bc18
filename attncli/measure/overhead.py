"""Measure the overhead of a recipe's mechanism without training: one record for the network and its baseline."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from attncli import model
from attncli.errors import UserError
from attncli.measure.cost import count_overhead
from attncli.measure.throughput import measure_throughput
from attncli.model import InputSpec
from attncli.recipe import Recipe
from attncli.records import Cost, Speed
from attncli.train import choose_device
from attncli.train.errors import translated_torch_errors


@dataclass(frozen=True)
class Overhead:
    """Cost of a mechanism on a backbone; `problem` says why it does not fit, `hint` what to do."""

    attn: str
    backbone: str
    category: str
    site: str
    cost: Cost | None = None
    speed: Speed | None = None
    problem: str = ""
    hint: str = ""

    def to_json_dict(self) -> dict[str, Any]:
        """Return the figures as one flat mapping, as `measure --json` prints them."""
        figures: dict[str, Any] = dict.fromkeys(_FIGURES)
        for record in (self.cost, self.speed):
            if record is not None:
                figures.update(asdict(record))
        if self.speed is not None:
            figures |= {"train_limit": self.speed.train_limit, "infer_limit": self.speed.infer_limit}
        labels = {"attn": self.attn, "backbone": self.backbone, "category": self.category, "site": self.site}
        return {**labels, **figures, "problem": self.problem or None}


_FIGURES = (
    "params", "baseline_params", "macs", "baseline_macs", "train_images_per_s", "infer_images_per_s", "train_ratio",
    "infer_ratio",
)  # fmt: skip


def measure_recipe_overhead(
    recipe: Recipe,
    shape: InputSpec,
    with_speed: bool,
    find_cost: Callable[[Recipe, InputSpec], Cost | None] | None = None,
) -> Overhead:
    """Count, and time if `with_speed`, a recipe's network against the same one without its mechanism.

    A mechanism that works on clips is measured on clips of `recipe.data.frames` frames, even if `shape` has no frames.
    The time is that of the chosen device. If the mechanism does not fit, or memory runs out, `problem` is set.

    Args:
        recipe: The recipe of the network.
        shape: What the network must know of its data.
        with_speed: Whether to time it too.
        find_cost: Returns a cost that is known already, or None; it is counted only if this finds none.
    """
    resolved, name = model.resolve_model(recipe), recipe.model.attn
    site = resolved.site or "-"
    category = resolved.mechanism.category if resolved.mechanism else "-"
    if site.startswith("frames") and shape.frames is None:
        shape = InputSpec(shape.classes, shape.size, recipe.data.frames)
    backbone = name if resolved.is_whole_network else recipe.model.backbone
    cost_record, device = None, choose_device() if with_speed else None
    try:
        cost_record = (find_cost(recipe, shape) if find_cost else None) or count_overhead(recipe, shape)
        if device is None:
            return Overhead(name, backbone, category, site, cost_record)
        net, baseline = model.build(recipe, shape), model.build(recipe.make_baseline(), shape)
        with translated_torch_errors(recipe.train):
            speed_record = measure_throughput(
                net, baseline, recipe, shape.classes, shape.size, frames=shape.frames, device=device
            )
    except UserError as error:
        return Overhead(name, backbone, category, site, cost_record, problem=error.problem, hint=error.hint)
    return Overhead(name, backbone, category, site, cost_record, speed_record)
