"""Estimate how long runs take, from finished runs and from speeds measured before."""

import statistics
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from attncli import data
from attncli.errors import UserError
from attncli.jobs import resources
from attncli.measure import speed_cache
from attncli.recipe import Recipe
from attncli.runs import read_folder_runs
from attncli.system import hardware

EXTRA_TIME_FACTOR = 1.05  # overhead factor for data loading, logging and checkpoints
EstimateBasis = Literal["measured run", "cached speed", "similar run"]


@dataclass(frozen=True)
class DurationEstimate:
    """About how many seconds a run takes with the whole machine, without timing, and the basis of the estimate."""

    seconds: float
    basis: EstimateBasis


@dataclass
class EpochSeconds:
    """Seconds per epoch of finished runs, by `make_duration_key` of their recipe and of that of their baseline."""

    by_recipe: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    by_baseline: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))


class DurationHistory:
    """The durations known below the folder `runs`, read on the first question."""

    def __init__(self, runs: Path) -> None:
        self._runs = runs
        self._epoch_seconds: dict[tuple[str, str], EpochSeconds] = {}  # by backbone and dataset

    def estimate_run(self, recipe: Recipe) -> DurationEstimate | None:
        """Return how long a run takes with the whole machine, or None if nothing similar is known.

        The estimate is from finished runs of the same recipe with other seeds or epochs, else from the speed that
        was measured for its network here, else from finished runs with other mechanisms.
        """
        key = recipe.model.backbone, recipe.data.name
        if key not in self._epoch_seconds:
            self._epoch_seconds[key] = self._collect_epoch_seconds(*key)
        known = self._epoch_seconds[key]
        if epoch_seconds := known.by_recipe.get(make_duration_key(recipe)):
            return DurationEstimate(recipe.train.epochs * statistics.median(epoch_seconds), "measured run")
        if (seconds := self._estimate_from_speed(recipe)) is not None:
            return DurationEstimate(seconds, "cached speed")
        if epoch_seconds := known.by_baseline.get(make_duration_key(recipe.make_baseline())):
            return DurationEstimate(recipe.train.epochs * statistics.median(epoch_seconds), "similar run")
        return None

    def is_timed(self, recipe: Recipe) -> bool:
        """Return whether the speed of the recipe's network is measured already, with the recipe's settings."""
        rates = self._find_rates(recipe)
        return rates is not None and rates.is_own_timing

    def _estimate_from_speed(self, recipe: Recipe) -> float | None:
        """Return the seconds of training, of evaluation (validation per epoch, test once) and of a little more."""
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

    def _collect_epoch_seconds(self, backbone: str, dataset: str) -> EpochSeconds:
        """Return the seconds per epoch of the finished runs of a backbone on a dataset.

        Runs whose own files are gone are left out: nothing says any more what they trained.
        """
        collected = EpochSeconds()
        for run in read_folder_runs(self._runs, dataset=dataset):
            recipe, result = run.recipe, run.result
            if recipe.model.backbone == backbone and result.epochs:
                threads = result.machine.get("threads", hardware.count_cores())
                epoch_seconds = result.seconds * estimate_machine_share(result.device, threads) / result.epochs
                with suppress(UserError):
                    key, baseline_key = make_duration_key(recipe), make_duration_key(recipe.make_baseline())
                    collected.by_recipe[key].append(epoch_seconds)
                    collected.by_baseline[baseline_key].append(epoch_seconds)
        return collected

    @cached_property
    def _speed_entries(self) -> list[speed_cache.SpeedEntry]:
        return list(speed_cache.read_speed_entries(self._runs / speed_cache.SPEEDS_FILE).values())


def make_duration_key(recipe: Recipe) -> str:
    """Return the key that runs share if they differ only in seed and epochs."""
    one_epoch = recipe.train.model_copy(update={"epochs": 1})
    return recipe.model_copy(update={"train": one_epoch}).compute_group()


def estimate_machine_share(device: str, threads: int) -> float:
    """Return the share of the machine that a run has: on a CPU by its threads, else by the GPUs."""
    if device != "cpu":
        return 1 / resources.choose_job_count()
    return min(1.0, threads / hardware.count_cores())
