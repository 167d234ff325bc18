"""The runs that a claim about accuracy needs, as recipes."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attncli import backbones, data, validation
from attncli.attention import NONE
from attncli.claims import language, networks
from attncli.claims.claim_files import Claim
from attncli.claims.language import ACCURACY, Quantity
from attncli.claims.substitution import substitute_backbone
from attncli.errors import UserError
from attncli.recipe import Recipe

RECIPE_FOLDER = Path("recipes")
PLAIN_MODEL: dict[str, Any] = {
    "model.attn": NONE,
    "model.options": {},
    "model.site": None,
    "model.stages": None,
    "model.blocks": None,
}


def make_claim_recipes(
    claims: Sequence[Claim],
    *,
    seeds: Sequence[int],
    path: Path | None = None,
    values: Mapping[str, Any] | None = None,
    overrides: Iterable[str] = (),
    backbone: str | None = None,
) -> list[Recipe]:
    """Return the recipes to train for these claims, each once, seed by seed.

    Args:
        claims: Claims about accuracy.
        seeds: The seeds of every network.
        path: The recipe file; by default the one that the claim names, else recipes/DATASET-BACKBONE.yaml.
        values: Recipe values by dotted key.
        overrides: Settings as "key=value", which win.
        backbone: The network to read the claims with, instead of their own.

    Raises:
        UserError: No training tests a claim, or attncli does not know its dataset.
    """
    claim_quantities = [(claim, quantity) for claim in claims for quantity in _list_accuracies(claim, backbone)]
    overrides, values = list(overrides), dict(values or {})
    recipes_by_digest = {
        recipe.compute_digest(): recipe
        for seed in seeds
        for claim, quantity in claim_quantities
        for recipe in [_make_recipe_for(claim, quantity, path, values | {"seed": seed}, overrides)]
    }
    return list(recipes_by_digest.values())


def _list_accuracies(claim: Claim, backbone: str | None) -> list[Quantity]:
    """Return the accuracies that a claim compares."""
    accuracies = []
    if claim.tree is not None:
        accuracies = [
            q for q in language.iterate_quantities(substitute_backbone(claim, backbone)[0]) if q.name in ACCURACY
        ]
    if not accuracies:
        raise UserError(f"{claim.id}: no run tests this claim", f"`attncli claims {claim.id} -v` shows what does")
    return accuracies


def _make_recipe_for(
    claim: Claim, quantity: Quantity, path: Path | None, values: dict[str, Any], overrides: list[str]
) -> Recipe:
    settings = dict(quantity.settings)
    dataset = values.get("data.name") or settings.get("dataset") or claim.on
    if path is None:
        path = _find_default_recipe(str(settings.get("recipe") or f"{dataset}-{quantity.network.base.name}"))
        if dataset is not None and dataset not in data.DATASETS:
            known = ", ".join(sorted(data.DATASETS))
            hint = f"for your own images: --dataset folder --data-root DIR; or another dataset: {known}"
            raise UserError(f"{claim.id}: attncli cannot get '{dataset}', on which it was claimed", hint)
        if dataset is not None:
            values = {"data.name": dataset} | values
    return validation.read(path, overrides, PLAIN_MODEL | dict(networks.list_recipe_values(quantity.network)) | values)


def _find_default_recipe(name: str) -> Path | None:
    """Return the path of a recipe in the folder recipes/, or None."""
    path = RECIPE_FOLDER / f"{name}.yaml"
    return path if path.exists() else None


def require_backbone(name: str | None) -> None:
    """Raise UserError for an unknown backbone."""
    if name is not None:
        backbones.find_family(name)
