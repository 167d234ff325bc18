"""How long runs take, told from those that are finished."""

import statistics
from functools import cached_property
from pathlib import Path

from attncli import recipe as recipes
from attncli import records
from attncli.errors import UserError
from attncli.jobs import devices
from attncli.recipe import Recipe
from attncli.records import Result


class Past:
    """The finished runs below the folder `runs`, read when something is asked."""

    def __init__(self, runs: Path) -> None:
        self._runs = runs
        self._kin: dict[tuple[str, str], dict[str, list[float]]] = {}

    def seconds(self, recipe: Recipe) -> float | None:
        """About how long a run takes on this machine as a whole, timing left out; None where nothing is like it.

        By the runs of the same recipe with other seeds or epochs; failing that, with other mechanisms.
        """
        key = recipe.model.backbone, recipe.data.name
        if key not in self._kin:
            self._kin[key] = self._per_epoch(*key)
        found = self._kin[key].get(same(recipe)) or self._kin[key].get(same(recipe.baseline()) + "*")
        return recipe.train.epochs * statistics.median(found) if found else None

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
                each = share(result) / result.epochs
                found.setdefault(same(recipe), []).append(each)
                found.setdefault(same(recipe.baseline()) + "*", []).append(each)
        return found

    @cached_property
    def _results(self) -> list[Result]:
        found = (records.result(path.parent) for path in self._runs.glob(f"*/{records.RESULT}"))
        return [result for result in found if result is not None and result.epochs]


def same(recipe: Recipe) -> str:
    """What runs have in common that differ in seed and epochs alone."""
    one = recipe.train.model_copy(update={"epochs": 1})
    return recipe.model_copy(update={"train": one}).group()


def share(result: Result) -> float:
    """Seconds the run would have taken with the machine to itself: on a CPU by its threads, else by the GPUs."""
    if result.device != "cpu":
        return result.seconds / devices.default_jobs()
    return result.seconds * min(1.0, result.machine.get("threads", devices.cores()) / devices.cores())
