"""What a mechanism has at each of its places in a network: channels, map size and parameters."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from attncli import attention, model
from attncli.backbones.placement import find_placements
from attncli.errors import UserError
from attncli.model import InputSpec
from attncli.recipe import Recipe


@dataclass(frozen=True)
class SiteCost:
    """A mechanism at one place: `stage` from 1 (None outside of all stages), (H, W) of the map, weights."""

    attn: str
    path: str
    stage: int | None
    channels: int | None
    size: tuple[int, int] | None
    params: int


def list_site_costs(recipe: Recipe, spec: InputSpec) -> list[SiteCost]:
    """Return every place of a recipe's mechanism in its network, in the order of the network; of each of a combination.

    The network is built without data. Raises UserError if there is no mechanism, it is the whole network, or it does
    not fit.
    """
    resolved = model.resolve_model(recipe)
    if resolved.mechanism is None or resolved.family is None:
        raise UserError(f"model.attn: '{recipe.model.attn}' has no sites", "name a mechanism that goes into a backbone")
    plain, structure = model.build_plain_network(recipe.model, spec.classes, spec.size)
    places = [
        (member, placement)
        for member in resolved.mechanism.members
        for placement in find_placements(plain, structure, model.make_placement_request(resolved, member, spec))
    ]
    costs = []
    for member, placement in places:  # a user's code may read values while it is built
        with torch.device("cpu" if attention.is_plugin(member.reference) else "meta"):
            module = model.build_mechanism(resolved, member, placement.site_arguments, placement.path)
        costs.append((member, placement, module))
    return [
        SiteCost(
            attn=member.name,
            path=placement.path,
            stage=structure.find_stage(placement.path),
            channels=placement.site_arguments.get("channels"),
            size=placement.site_arguments.get("size"),
            params=sum(parameter.numel() for parameter in module.parameters()),
        )
        for member, placement, module in costs
    ]


def sum_by_stage(costs: Sequence[SiteCost]) -> list[dict[str, Any]]:
    """Return the number of places and the parameters of each stage, then of all."""
    rows: list[dict[str, Any]] = []
    for stage in dict.fromkeys(cost.stage for cost in costs):
        own = [cost for cost in costs if cost.stage == stage]
        rows.append({"stage": stage, "sites": len(own), "params": sum(cost.params for cost in own)})
    return [*rows, {"stage": "all", "sites": len(costs), "params": sum(cost.params for cost in costs)}]
