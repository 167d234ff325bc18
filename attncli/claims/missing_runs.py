"""The runs that a claim about accuracy needs, as recipes."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from attncli import backbones, data, validation
from attncli.attention import NONE
from attncli.claims import language, networks
from attncli.claims.claim_files import Claim
from attncli.claims.evaluate import is_about_level
from attncli.claims.language import ACCURACY, ComparisonChain, NamedModule, NetworkExpression, Quantity
from attncli.claims.reference_accuracy import find_published_top1
from attncli.claims.schedules import FAST_TWINS, choose_recipe_name
from attncli.claims.substitution import substitute_backbone
from attncli.errors import UserError
from attncli.recipe import Recipe, find_recipe_file

PLAIN_MODEL: dict[str, Any] = {
    "model.attn": NONE,
    "model.options": {},
    "model.site": None,
    "model.stages": None,
    "model.blocks": None,
}


@dataclass(frozen=True)
class ClaimTraining:
    """One network to train for a claim: its recipe, and the file that the recipe came from."""

    claim: str
    file: Path
    recipe: Recipe


def make_claim_recipes(trainings: Iterable[ClaimTraining]) -> list[Recipe]:
    """Return the recipes of these trainings in their order, each once."""
    return list({training.recipe.compute_digest(): training.recipe for training in trainings}.values())


def plan_claim_trainings(
    claims: Sequence[Claim],
    *,
    seeds: Sequence[int],
    path: Path | None = None,
    values: Mapping[str, Any] | None = None,
    overrides: Iterable[str] = (),
    backbone: str | None = None,
    fast: bool = False,
) -> list[ClaimTraining]:
    """Return what to train for these claims, seed by seed. All networks of one comparison share one recipe file.

    Args:
        claims: Claims about accuracy.
        seeds: The seeds of every network.
        path: The recipe file; by default the one that the claim names, else the one that suits dataset and networks.
        values: Recipe values by dotted key.
        overrides: Settings as "key=value", which win.
        backbone: The network to read the claims with, instead of their own.
        fast: Whether to take the short schedule where there is one.

    Raises:
        UserError: No training tests a claim, attncli does not know its dataset, or there is no recipe for it.
    """
    overrides, values = list(overrides), dict(values or {})
    dataset = values.get("data.name")
    parts = [(claim, part) for claim in claims for part in _list_accuracy_parts(claim, backbone, dataset)]
    files = [[path or _find_file(claim, quantity, part, dataset, fast) for quantity in part] for claim, part in parts]
    return [
        ClaimTraining(
            claim.id, file, _make_recipe_for(claim, quantity, file, values | {"seed": seed}, overrides, path is None)
        )
        for seed in seeds
        for (claim, part), part_files in zip(parts, files, strict=True)
        for quantity, file in zip(part, part_files, strict=True)
    ]


def _list_accuracy_parts(claim: Claim, backbone: str | None, other_dataset: str | None) -> list[list[Quantity]]:
    """Return the accuracies that each part of a claim needs. Raises UserError if there is none."""
    if claim.tree is not None:
        tree = substitute_backbone(claim, backbone)[0]
        parts = [_list_needed_accuracies(claim, part, other_dataset) for part in tree.parts]
        if any(parts):
            return [part for part in parts if part]
    raise UserError(
        f"{claim.id}: no run tests this claim",
        f"`{shlex.join(['attncli', 'claims', claim.id, *claim.file_option])} -v` shows what does",
    )


def _list_needed_accuracies(claim: Claim, part: ComparisonChain, other_dataset: str | None) -> list[Quantity]:
    """Return the accuracies that a part compares, and that of the plain network if it compares them with a number.

    A network that "fails to train" does not show that the recipe trains others: the plain network does.
    """
    accuracies = [q for q in language.iterate_quantities(part) if q.name in ACCURACY]
    if not any(is_about_level(left_side, link) for left_side, link in part.link_pairs()):
        return accuracies
    plain_accuracies = [
        replace(q, name="top1", network=NetworkExpression(NamedModule(q.network.base.name)))
        for q in accuracies
        if find_published_top1(q.network.base.name, other_dataset or find_dataset(claim, q) or "") is not None
    ]
    return list(dict.fromkeys([*accuracies, *plain_accuracies]))


def find_dataset(claim: Claim, quantity: Quantity) -> str | None:
    """Return the dataset of one accuracy of a claim."""
    dataset = dict(quantity.settings).get("dataset") or claim.on
    return None if dataset is None else str(dataset)


def _find_file(
    claim: Claim, quantity: Quantity, part: Sequence[Quantity], other_dataset: str | None, fast: bool
) -> Path:
    """Return the recipe file of one accuracy: the one that it or one beside it names, else that of its part."""
    names = [dict(q.settings).get("recipe") for q in (quantity, *part)]
    if name := next(filter(None, names), None):
        return find_recipe_file(Path(str(name)))
    dataset = other_dataset or find_dataset(claim, quantity)
    if dataset not in data.DATASETS:
        known = ", ".join(sorted(data.DATASETS))
        hint = f"for your own images: --dataset folder --data-root DIR; or another dataset: {known}"
        where = f"'{dataset}', on which it was claimed" if dataset else "a dataset, as the claim names none"
        raise UserError(f"{claim.id}: attncli cannot get {where}", hint)
    name = choose_recipe_name(dataset, {q.network.base.name for q in part})
    if name is None:
        raise UserError(
            f"{claim.id}: there is no recipe for '{dataset}'", "--recipe NAME; `attncli recipe ls` lists them"
        )
    return find_recipe_file(Path(FAST_TWINS.get(name, name) if fast else name))


def _make_recipe_for(
    claim: Claim, quantity: Quantity, file: Path, values: dict[str, Any], overrides: list[str], on_claims_dataset: bool
) -> Recipe:
    """Return the recipe of one accuracy; with `on_claims_dataset` on the claim's dataset instead of the file's."""
    dataset = dict(quantity.settings).get("dataset") or (claim.on if on_claims_dataset else None)
    dataset_values = {"data.name": dataset} if dataset in data.DATASETS else {}
    network_values = dict(networks.list_recipe_values(quantity.network))
    return validation.read(file, overrides, dataset_values | PLAIN_MODEL | network_values | values)


def require_backbone(name: str | None) -> None:
    """Raise UserError for an unknown backbone."""
    if name is not None:
        backbones.find_family(name)
