"""How long runs take, told from those that are finished and from speeds measured before."""

import statistics
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from attncli import data, records, speeds
from attncli import recipe as recipes
from attncli.errors import UserError
from attncli.jobs import devices
from attncli.recipe import Recipe
from attncli.records import Result

BESIDE = 1.05  # of a training and its evaluations: what data, records and checkpoints take beside the network
By = Literal["measured run", "cached speed", "similar run"]


@dataclass(frozen=True)
class Estimate:
    """About how many seconds of the whole machine a run takes, timing left out, and by what that is known."""

    seconds: float
    by: By


class Past:
    """What is known below the folder `runs`, read when something is asked."""

    def __init__(self, runs: Path) -> None:
        self._runs = runs
        self._kin: dict[tuple[str, str], dict[str, list[float]]] = {}

    def estimate(self, recipe: Recipe) -> Estimate | None:
        """How long a run takes on this machine as a whole; None where nothing is known of its like.

        By the finished runs of the same recipe with other seeds or epochs; failing that, by the speed at which its
        very network was timed here; failing that, by finished runs with other mechanisms.
        """
        key = recipe.model.backbone, recipe.data.name
        if key not in self._kin:
            self._kin[key] = self._per_epoch(*key)
        if found := self._kin[key].get(same(recipe)):
            return Estimate(recipe.train.epochs * statistics.median(found), "measured run")
        if (seconds := self._by_speed(recipe)) is not None:
            return Estimate(seconds, "cached speed")
        if found := self._kin[key].get(same(recipe.baseline()) + "*"):
            return Estimate(recipe.train.epochs * statistics.median(found), "similar run")
        return None

    def timed(self, recipe: Recipe) -> bool:
        """Whether the speed of the recipe's network is measured already, just as the recipe wants it."""
        rates = self._rates(recipe)
        return rates is not None and rates.own

    def _by_speed(self, recipe: Recipe) -> float | None:
        """Training and evaluation (each epoch on the validation images, once on the test images) and a little more."""
        extent, rates = data.extent(self._runs / "cache", recipe.data), self._rates(recipe)
        if extent is None or rates is None:
            return None
        epochs = recipe.train.epochs
        training = epochs * extent.train / rates.train_images_per_s
        evaluation = (epochs * extent.val + extent.test) / rates.infer_images_per_s
        return BESIDE * (training + evaluation) * share(rates.device, rates.threads)

    def _rates(self, recipe: Recipe) -> speeds.Rates | None:
        extent = data.extent(self._runs / "cache", recipe.data) if self._speeds else None
        return speeds.rates(self._speeds, recipe, extent.images) if extent else None

    def _per_epoch(self, backbone: str, dataset: str) -> dict[str, list[float]]:
        """Seconds an epoch of the finished runs, by `same` of their recipes, and of all like a baseline with `*`."""
        found: dict[str, list[float]] = {}
        for result in self._results:
            if result.dataset != dataset:
                continue
            try:
                recipe = recipes.read(self._runs / result.digest / "recipe.yaml")
            except UserError:  # not whole
                continue
            if (recipe.model.backbone, recipe.data.name) == (backbone, dataset):
                threads = result.machine.get("threads", devices.cores())
                each = result.seconds * share(result.device, threads) / result.epochs
                found.setdefault(same(recipe), []).append(each)
                found.setdefault(same(recipe.baseline()) + "*", []).append(each)
        return found

    @cached_property
    def _results(self) -> list[Result]:
        found = (records.result(path.parent) for path in self._runs.glob(f"*/{records.RESULT}"))
        return [result for result in found if result is not None and result.epochs]

    @cached_property
    def _speeds(self) -> list[speeds.Entry]:
        return list(speeds.entries(self._runs / speeds.FILE).values())


def same(recipe: Recipe) -> str:
    """What runs have in common that differ in seed and epochs alone."""
    one = recipe.train.model_copy(update={"epochs": 1})
    return recipe.model_copy(update={"train": one}).group()


def share(device: str, threads: int) -> float:
    """The share of the machine that a run has: on a CPU by its threads, else by the GPUs."""
    if device != "cpu":
        return 1 / devices.default_jobs()
    return min(1.0, threads / devices.cores())
