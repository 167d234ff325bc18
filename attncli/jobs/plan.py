"""The plan of a sweep: its runs in order, which of them are finished, and how long the others may take. No torch."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attncli import attention, check, sweep, track
from attncli.jobs.estimate import Past
from attncli.recipe import Recipe
from attncli.records import Result

ALL = "all"


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One run: `result` where it is finished, `begun` where a checkpoint waits, `seconds` as far as can be told."""

    recipe: Recipe
    digest: str
    title: str
    result: Result | None
    begun: bool
    seconds: float | None  # of the whole machine; None = nothing like it was run here

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do."""
        return self.result is not None

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
            "seconds": None if self.finished else self.seconds,
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
        timings = {r.recipe.group(): r.recipe.measure.seconds for r in todo if r.recipe.measure.speed}
        known = [run.seconds for run in todo if run.seconds is not None]
        return sum(known) + sum(timings.values()), len(todo) - len(known)


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
        seconds=None if result else past.seconds(recipe),
    )


def categories() -> dict[str, tuple[str, ...]]:
    """The mechanisms of every category, and `all` of them; a user's installed ones are in `all` alone."""
    found: dict[str, tuple[str, ...]] = {ALL: attention.names()}
    for category in attention.CATEGORIES:
        found[category] = tuple(n for n in attention.names() if attention.locate(n)[0] == category)
    return found
