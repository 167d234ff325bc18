"""Evaluate finished runs on other images than their test set: another split, dataset, crop, or corrupted images."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from attncli import data, train
from attncli.data.dataset import Dataset, Split
from attncli.errors import UserError, quote_word
from attncli.quantities import format_first, format_quantity
from attncli.recipe import Data, Recipe
from attncli.recipe.image_size import format_image_size
from attncli.records import Evaluation
from attncli.runs import FinishedRun
from attncli.system.files import expand_user_path
from attncli.track.predictions import ImagePredictions
from attncli.train.distributed import choose_kernels
from attncli.trained.corruptions import corrupt_images
from attncli.trained.network import TrainedNetwork

SPLITS = ("test", "val", "train")
PLACE_AND_CUT_KEYS = ("root", "classes", "per_class", "fraction", "test_per_class", "folds", "content")
LAYOUT_KEYS = ("of", "configuration", "image_column", "label_column", "group_column", "group_pattern")


@dataclass(frozen=True, kw_only=True)
class EvaluationRequest:
    """On what to evaluate: keys of `data` that differ from the run's, the split, and corruptions with severities."""

    data_values: Mapping[str, Any]
    split: str = "test"
    corruptions: Sequence[str] = ()
    severities: Sequence[int] = (1,)
    seed: int = 0  # of the corruptions

    def describe(self) -> str:
        """Return it in a few words."""
        keys = ", ".join(f"data.{key}={value}" for key, value in self.data_values.items())
        word = "severity" if len(self.severities) == 1 else "severities"
        severities = f"{word} {', '.join(map(str, self.severities))}"
        corrupted = f"{', '.join(self.corruptions)} at {severities}" if self.corruptions else ""
        return "; ".join(text for text in (f"split {self.split}", keys, corrupted) if text)


def load_other_images(trained: TrainedNetwork, request: EvaluationRequest) -> Dataset:
    """Return the images to evaluate a run on, labelled with the run's classes and normalised as in its training.

    Of another dataset without a test split, all images are the test images.

    Raises UserError if the images cannot be read, have classes that the run does not know, or another size, and for a
    split of the run's own images if they have changed since.
    """
    chosen = _choose_data(trained, request)
    tests_all = "name" in request.data_values and not _are_same_images(chosen, trained.recipe.resolve_data())
    dataset = data.load(chosen, cache=trained.folder.parent / "cache", tests_all=tests_all)
    trained_digest = trained.result.data_digest if trained.result else ""
    if not request.data_values and trained_digest not in ("", dataset.digest):
        raise UserError(
            f"{trained.name}: trained on other images than those of {dataset.origin} now",
            f"`attncli run {quote_word(trained.folder / 'recipe.yaml')}` trains on these",
        )
    if dataset.size != trained.size or dataset.frames != trained.frames:
        raise UserError(
            f"the images have {format_image_size(dataset.size)} px, "
            f"{trained.name} was trained on {format_image_size(trained.size)} px",
            f"--set data.image_size={format_image_size(trained.size)}",
        )
    numbers = {name: number for number, name in enumerate(trained.classes)}
    unknown = [name for name in dataset.classes if name not in numbers]
    if unknown:
        raise UserError(
            f"{trained.name} does not know the class '{unknown[0]}'"
            + (f" and {format_quantity(len(unknown) - 1, 'other')}" if len(unknown) > 1 else ""),
            f"its classes: {format_first(trained.classes, 8)}",
        )
    mapping = torch.tensor([numbers[name] for name in dataset.classes])
    split = getattr(dataset, request.split)
    if split is None or split.whole_images is not None:
        raise UserError(
            f"split {request.split}: the dataset has none that can be evaluated", f"allowed: {', '.join(SPLITS)}"
        )
    relabelled = Split(split.images, mapping[split.labels])
    return replace(dataset, classes=trained.classes, mean=trained.mean, std=trained.std, test=relabelled)


def _choose_data(trained: TrainedNetwork, request: EvaluationRequest) -> Data:
    """Return the section `data` of the images to evaluate a run on: cut as in its training, if they are its own."""
    own = trained.recipe.resolve_data()
    values, is_named = own.model_dump(), "name" in request.data_values
    if is_named:
        values |= dict.fromkeys(PLACE_AND_CUT_KEYS) | {"fold": 0}
    if is_named and request.data_values["name"] != own.name:
        values |= dict.fromkeys(LAYOUT_KEYS) | {"unused_splits": []}
    values |= dict(request.data_values)
    if is_named:
        values["image_size"] = values["image_size"] or list(trained.size)
        values["grey_range"] = values["grey_range"] or (
            None if trained.grey_range is None else list(trained.grey_range)
        )
    return Data.model_validate(values)


def _are_same_images(one: Data, other: Data) -> bool:
    """Return whether two sections `data` read the same dataset from the same place."""
    places = [data.root and expand_user_path(data.root, "data.root").resolve() for data in (one, other)]
    return (one.name, one.of, places[0]) == (other.name, other.of, places[1])


def evaluate_elsewhere(
    trained: TrainedNetwork, dataset: Dataset, request: EvaluationRequest
) -> list[tuple[Evaluation, ImagePredictions]]:
    """Return an evaluation of the images of `load_other_images` for each corruption and severity, one if there is none.

    Each comes with the predicted class of every image. The severities of a corruption follow each other.
    """
    accelerator = train.init_accelerator()
    device = train.resolve_device(accelerator)
    recipe = choose_available_precision(trained.recipe, device)
    choose_kernels(device, train.resolve_precision(recipe.train.precision, device))
    evaluations = []
    for label, split in _iterate_splits(dataset.test, request):
        evaluation, predicted = train.predict_split(
            trained.net, split, dataset, recipe, name=label, accelerator=accelerator
        )
        evaluations.append((evaluation, ImagePredictions(predicted.numpy(), split.labels.numpy())))
    return evaluations


def _iterate_splits(split: Split, request: EvaluationRequest) -> Iterator[tuple[str, Split]]:
    """Yield the split with each corruption at each severity and its label, or as it is if there is no corruption."""
    if not request.corruptions:
        yield request.split, split
    for name, severity in itertools.product(request.corruptions, request.severities):
        yield f"{name}-{severity}", corrupt_split(split, name, severity, request.seed)


def replace_test_results(run: FinishedRun, evaluations: Sequence[tuple[Evaluation, ImagePredictions]]) -> FinishedRun:
    """Return the run as if it had been tested on other images: by the mean of its evaluations there.

    The images of several evaluations are the same ones, corrupted in several ways: so they are no independent images,
    and such a run has neither counts nor predictions of single images.
    """
    figures = [figure for figure, _ in evaluations]
    top5 = [figure.informative_top5 for figure in figures if figure.informative_top5 is not None]
    result = replace(
        run.result,
        test_top1=fmean(figure.top1 for figure in figures),
        test_top5=fmean(top5) if top5 else None,
        test_loss=fmean(figure.loss for figure in figures),
        test_macro_f1=fmean(figure.compute_macro_f1() for figure in figures),
        test_images=figures[0].images,
        test_correct=figures[0].count_correct() if len(figures) == 1 else None,
        test_nonfinite=sum(figure.count_nonfinite() for figure in figures),
    )
    return replace(run, result=result, other_predictions=[predictions for _, predictions in evaluations])


def choose_available_precision(recipe: Recipe, device: torch.device) -> Recipe:
    """Return the recipe with the number format in which its network is evaluated: fp32 if the device lacks its own.

    A network that a GPU trained in fp16 or tf32 can so be evaluated on any machine.
    """
    try:
        train.resolve_precision(recipe.train.precision, device)
    except UserError:
        return recipe.model_copy(update={"train": recipe.train.model_copy(update={"precision": "fp32"})})
    return recipe


def describe_precision(recipe: Recipe, device: torch.device) -> str:
    """Return a line for the user if a network is not evaluated in the format that it was trained in; else ""."""
    if choose_available_precision(recipe, device) is recipe:
        return ""
    return f"trained in {recipe.train.precision}, which '{device.type}' does not have; evaluated in fp32"


def corrupt_split(split: Split, name: str, severity: int, seed: int) -> Split:
    """Return a split with every image corrupted. Raises UserError for clips."""
    if split.images.ndim != 4:
        raise UserError("clips cannot be corrupted", "leave --corruption out")
    pixels = split.images.movedim(1, -1).contiguous().numpy()
    corrupted: Tensor = torch.from_numpy(corrupt_images(pixels, name, severity, seed))
    return Split(corrupted.movedim(-1, 1), split.labels)
