"""The plan of a sweep: its runs in order, which of them are finished, and how long the others may take. No torch."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from attncli import attention, check, sweep, track
from attncli.jobs.estimate import By, Estimate, Past
from attncli.recipe import Recipe
from attncli.records import Result

ALL = "all"


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One run: `result` where it is finished, `begun` where a checkpoint waits, `estimate` as far as can be told."""

    recipe: Recipe
    digest: str
    title: str
    result: Result | None
    begun: bool
    estimate: Estimate | None = None  # None = finished, or nothing like it was run or timed here
    timed: bool = False  # whether its network's speed is measured already

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do."""
        return self.result is not None

    @property
    def seconds(self) -> float | None:
        """About how long the run takes with the whole machine; None where nothing is known."""
        return self.estimate.seconds if self.estimate else None

    def plain(self) -> dict[str, Any]:
        """The run for JSON."""
        return {
            "digest": self.digest,
            "title": self.title,
            "attn": self.recipe.model.attn,
            "backbone": self.recipe.model.backbone,
            "dataset": self.recipe.data.name,
            "seed": self.recipe.seed,
            "status": "finished" if self.finished else "begun" if self.begun else "new",
            "seconds": self.seconds,
            "seconds_by": None if self.finished else self.estimate.by if self.estimate else "unknown",
            "test_top1": self.result.test_top1 if self.result else None,
        }


@dataclass(frozen=True)
class Plan:
    """A sweep's name and runs."""

    name: str
    runs: tuple[Planned, ...]

    @property
    def todo(self) -> tuple[Planned, ...]:
        """The runs that are not finished."""
        return tuple(run for run in self.runs if not run.finished)

    def seconds(self) -> tuple[float, int]:
        """(about how long what is left takes, timings included; how many of its runs nothing is known of)."""
        todo = self.todo
        untimed = (run.recipe for run in todo if run.recipe.measure.speed and not run.timed)
        timings = {recipe.group(): recipe.measure.seconds for recipe in untimed}
        known = [run.seconds for run in todo if run.seconds is not None]
        return sum(known) + sum(timings.values()), len(todo) - len(known)

    def known_by(self) -> dict[str, int]:
        """How many of the runs that are left are estimated by what, the surest first."""
        found = Counter(run.estimate.by for run in self.todo if run.estimate)
        return {by: found[by] for by in get_args(By) if by in found}


def plan(
    path: Path,
    *,
    runs: Path,
    overrides: Iterable[str] = (),
    axes: Mapping[str, Any] | None = None,
) -> Plan:
    """The plan of a sweep's file, seen against the folder of runs. Raises CollectedError for a file in disorder."""
    read = sweep.read(path, check=check.problems, categories=categories(), overrides=overrides, axes=axes)
    return of(read.name, read.recipes, runs=runs)


def of(name: str, recipes: Sequence[Recipe], *, runs: Path) -> Plan:
    """The plan of some recipes in their order, seen against the folder of runs."""
    past = Past(runs)
    titled = zip(recipes, sweep.titles(recipes), strict=True)
    return Plan(name, tuple(_planned(recipe, title, runs, past) for recipe, title in titled))


def _planned(recipe: Recipe, title: str, runs: Path, past: Past) -> Planned:
    digest = recipe.digest()
    result = track.finished(runs / digest)
    return Planned(
        recipe=recipe,
        digest=digest,
        title=title,
        result=result,
        begun=result is None and (runs / digest / "checkpoint" / "state.json").exists(),
        estimate=None if result else past.estimate(recipe),
        timed=result is None and past.timed(recipe),
    )


def categories() -> dict[str, tuple[str, ...]]:
    """The mechanisms of every category, and `all` of them; a user's installed ones are in `all` alone."""
    found: dict[str, tuple[str, ...]] = {ALL: attention.names()}
    for category in attention.CATEGORIES:
        found[category] = tuple(n for n in attention.names() if attention.locate(n)[0] == category)
    return found
