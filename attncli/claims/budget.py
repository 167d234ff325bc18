"""On how little a verdict rests: the epochs and images of its runs beside those that the claim's schedule has."""

from collections.abc import Sequence, Set
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from attncli import validation
from attncli.claims.claim_files import Claim
from attncli.claims.language import ACCURACY, iterate_quantities
from attncli.claims.missing_runs import find_dataset
from attncli.claims.networks import list_whole_networks
from attncli.claims.schedules import choose_recipe_name
from attncli.dataset_catalog import find_properties, has_origin
from attncli.errors import UserError
from attncli.quantities import format_quantity
from attncli.recipe import read_class_list
from attncli.recipe.library import find_shipped_folder
from attncli.runs import FinishedRun
from attncli.track.provenance import read_provenance

# Training images as published, by dataset.
TRAINING_IMAGES = {"cifar10": 50_000, "cifar100": 50_000, "mnist": 60_000, "imagenet": 1_281_167}
ENOUGH = 0.8  # a smaller share of the images, or of the epochs, is marked


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What the runs behind a verdict spent; the `claimed_` figures are those of the claim, None if unknown.

    If the runs are on another dataset than the claim, they are those of the claim carried over to that dataset.
    """

    epochs: int  # the fewest of a run
    claimed_epochs: int | None
    images: int | None  # training images of the smallest run
    claimed_images: int | None
    tests_part: bool = False  # whether a run was tested on a part of the test images

    @property
    def is_part(self) -> bool:
        """Whether the runs had clearly fewer images than the claim."""
        return self.image_share is not None and self.image_share < ENOUGH

    @property
    def image_share(self) -> float | None:
        """The images of the smallest run as a share of the claim's, or None if either is unknown."""
        return self.images / self.claimed_images if self.images is not None and self.claimed_images else None

    @property
    def labels(self) -> tuple[str, ...]:
        """What a reader must know: in which ways the runs fall short of the claim's schedule."""
        labels = []
        if self.claimed_epochs and self.epochs < ENOUGH * self.claimed_epochs:
            labels.append(f"a short schedule: {self.epochs} of {format_quantity(self.claimed_epochs, 'epoch')}")
        if self.is_part:
            labels.append(f"a part of the images: {self.images:,} of {self.claimed_images:,}")
        if self.tests_part:
            labels.append("a part of the test images")
        return tuple(labels)

    def describe_epochs(self) -> str:
        """Return the epochs in words, such as `10 of 164 epochs`."""
        if not self.claimed_epochs:
            return format_quantity(self.epochs, "epoch")
        return f"{self.epochs:,} of {format_quantity(self.claimed_epochs, 'epoch')}"

    def describe(self) -> str:
        """Return the budget in words, such as `10 of 164 epochs, 50,000 of 50,000 images`."""
        epochs = self.describe_epochs()
        if self.images is None:
            return epochs
        if not self.claimed_images:
            return f"{epochs}, {format_quantity(self.images, 'image')}"
        return f"{epochs}, {self.images:,} of {format_quantity(self.claimed_images, 'image')}"


def compute_budget(claim: Claim, runs: Sequence[FinishedRun]) -> Budget | None:
    """Return the budget of a claim's verdict, given the runs that it rests on; None if there are none."""
    if not runs:
        return None
    claimed_datasets = _list_claimed_datasets(claim)
    other_datasets: set[str] = {run.dataset for run in runs} - claimed_datasets if claimed_datasets else set()
    images, claimed_images = _find_smallest_share(runs, is_claimed=bool(claim.on))
    return Budget(
        epochs=min(run.recipe.train.epochs for run in runs),
        claimed_epochs=_find_epochs_on(other_datasets, runs) if other_datasets else find_claimed_epochs(claim),
        images=images,
        claimed_images=claimed_images,
        tests_part=any(run.recipe.data.test_per_class is not None for run in runs),
    )


def find_claimed_epochs(claim: Claim) -> int | None:
    """Return the epochs of the shipped recipe for the claim's own dataset and networks, or None if there is none."""
    if claim.tree is None:
        return None
    names: set[str | None] = set()
    for part in claim.tree.parts:
        accuracies = [q for q in iterate_quantities(part) if q.name in ACCURACY]
        networks = {q.network.base.name for q in accuracies}
        names |= {choose_recipe_name(d or "", networks) for d in {find_dataset(claim, q) for q in accuracies} - {None}}
    return _find_most_epochs(names)


def _find_epochs_on(datasets: Set[str], runs: Sequence[FinishedRun]) -> int | None:
    """Return the epochs of the shipped recipe for these datasets and the networks of the runs, or None."""
    models = [run.recipe.model for run in runs]
    networks = {model.attn if model.attn in list_whole_networks() else model.backbone for model in models}
    return _find_most_epochs({choose_recipe_name(dataset, networks) for dataset in datasets})


def _find_most_epochs(recipe_names: Set[str | None]) -> int | None:
    """Return the most epochs of these shipped recipes, or None if one of them is missing."""
    epochs = [_read_epochs(find_shipped_folder() / f"{name}.yaml") if name else None for name in recipe_names]
    known_epochs = [count for count in epochs if count is not None]
    return max(known_epochs) if known_epochs and len(known_epochs) == len(epochs) else None


def _list_claimed_datasets(claim: Claim) -> set[str | None]:
    """Return the datasets of a claim's accuracies that it names."""
    quantities = iterate_quantities(claim.tree) if claim.tree is not None else ()
    return {find_dataset(claim, q) for q in quantities if q.name in ACCURACY} - {None}


def _find_smallest_share(runs: Sequence[FinishedRun], *, is_claimed: bool) -> tuple[int | None, int | None]:
    """Return the training images of the run with the smallest share of its dataset, and those of the dataset.

    Without a claimed dataset there is no share: then they are the fewest images, and None.
    """
    pairs = [(count_training_images(run), TRAINING_IMAGES.get(run.dataset) if is_claimed else None) for run in runs]
    counted = [(count, all_images) for count, all_images in pairs if count is not None]
    if len(counted) < len(pairs):
        return None, next((all_images for _, all_images in pairs if all_images), None)
    return min(counted, key=lambda pair: pair[0] / pair[1] if pair[1] else pair[0])


@cache
def _read_epochs(file: Path) -> int | None:
    try:
        return validation.read(file).train.epochs
    except UserError:
        return None


def count_training_images(run: FinishedRun) -> int | None:
    """Return the images that a run had for training and validation, or None if nothing here knows their number."""
    recipe = run.recipe.data
    provenance = read_provenance(run.folder) if run.folder is not None else None
    if provenance is not None and provenance.facts is not None:
        return provenance.facts.train + provenance.facts.val
    if has_origin(recipe.name, "user", "hub") or recipe.name not in TRAINING_IMAGES:
        return None
    whole_count = TRAINING_IMAGES[recipe.name]
    properties = find_properties(recipe.name)
    class_count = (properties and properties.class_count) or 0
    chosen_classes = recipe.classes if isinstance(recipe.classes, int) else class_count
    if isinstance(recipe.classes, list | str):
        names = read_class_list(recipe.classes) if isinstance(recipe.classes, str) else recipe.classes
        chosen_classes = len(names)
    count = whole_count * chosen_classes / class_count if class_count else whole_count
    count = count if recipe.fraction is None else count * recipe.fraction
    return round(count if recipe.per_class is None else min(count, recipe.per_class * chosen_classes))
