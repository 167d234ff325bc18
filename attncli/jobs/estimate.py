"""How long runs take, told from those that are finished and from speeds measured before."""

import statistics
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from attncli import data
from attncli.jobs import resources
from attncli.measure import speed_cache
from attncli.recipe import Recipe
from attncli.runs import read_folder_runs

EXTRA_TIME_FACTOR = (
    1.05  # of a training and its evaluations: what data, records and checkpoints take beside the network
)
EstimateBasis = Literal["measured run", "cached speed", "similar run"]


@dataclass(frozen=True)
class DurationEstimate:
    """About how many seconds of the whole machine a run takes, timing left out, and by what that is known."""

    seconds: float
    basis: EstimateBasis


class DurationHistory:
    """What is known below the folder `runs`, read when something is asked."""

    def __init__(self, runs: Path) -> None:
        self._runs = runs
        self._epoch_seconds: dict[tuple[str, str], dict[str, list[float]]] = {}

    def estimate_run(self, recipe: Recipe) -> DurationEstimate | None:
        """Return how long a run takes on this machine as a whole, or None if nothing is known of its like.

        By the finished runs of the same recipe with other seeds or epochs; failing that, by the speed at which its
        very network was timed here; failing that, by finished runs with other mechanisms.
        """
        key = recipe.model.backbone, recipe.data.name
        if key not in self._epoch_seconds:
            self._epoch_seconds[key] = self._collect_epoch_seconds(*key)
        if epoch_seconds := self._epoch_seconds[key].get(make_duration_key(recipe)):
            return DurationEstimate(recipe.train.epochs * statistics.median(epoch_seconds), "measured run")
        if (seconds := self._estimate_from_speed(recipe)) is not None:
            return DurationEstimate(seconds, "cached speed")
        if epoch_seconds := self._epoch_seconds[key].get(make_duration_key(recipe.make_baseline()) + "*"):
            return DurationEstimate(recipe.train.epochs * statistics.median(epoch_seconds), "similar run")
        return None

    def is_timed(self, recipe: Recipe) -> bool:
        """Return whether the speed of the recipe's network is measured already, just as the recipe wants it."""
        rates = self._find_rates(recipe)
        return rates is not None and rates.is_own_timing

    def _estimate_from_speed(self, recipe: Recipe) -> float | None:
        """Training and evaluation (each epoch on the validation images, once on the test images) and a little more."""
        extent, rates = data.load_size(self._runs / "cache", recipe.data), self._find_rates(recipe)
        if extent is None or rates is None:
            return None
        epochs = recipe.train.epochs
        training = epochs * extent.train / rates.train_images_per_s
        evaluation = (epochs * extent.val + extent.test) / rates.infer_images_per_s
        return EXTRA_TIME_FACTOR * (training + evaluation) * estimate_machine_share(rates.device, rates.threads)

    def _find_rates(self, recipe: Recipe) -> speed_cache.MeasuredRates | None:
        extent = data.load_size(self._runs / "cache", recipe.data) if self._speed_entries else None
        return speed_cache.find_rates(self._speed_entries, recipe, extent.images) if extent else None

    def _collect_epoch_seconds(self, backbone: str, dataset: str) -> dict[str, list[float]]:
        """Return seconds an epoch of the finished runs, by `make_duration_key` of their recipes, and of all like a baseline
        with `*`.
        """
        seconds_by_key: dict[str, list[float]] = {}
        for run in read_folder_runs(self._runs, dataset=dataset):
            recipe, result = run.recipe, run.result
            if recipe.model.backbone == backbone and result.epochs:
                threads = result.machine.get("threads", resources.count_cores())
                epoch_seconds = result.seconds * estimate_machine_share(result.device, threads) / result.epochs
                seconds_by_key.setdefault(make_duration_key(recipe), []).append(epoch_seconds)
                seconds_by_key.setdefault(make_duration_key(recipe.make_baseline()) + "*", []).append(epoch_seconds)
        return seconds_by_key

    @cached_property
    def _speed_entries(self) -> list[speed_cache.SpeedEntry]:
        return list(speed_cache.read_speed_entries(self._runs / speed_cache.SPEEDS_FILE).values())


def make_duration_key(recipe: Recipe) -> str:
    """Return what runs have in common that differ in seed and epochs alone."""
    one_epoch = recipe.train.model_copy(update={"epochs": 1})
    return recipe.model_copy(update={"train": one_epoch}).compute_group()


def estimate_machine_share(device: str, threads: int) -> float:
    """Return the share of the machine that a run has: on a CPU by its threads, else by the GPUs."""
    if device != "cpu":
        return 1 / resources.choose_job_count()
    return min(1.0, threads / resources.count_cores())
