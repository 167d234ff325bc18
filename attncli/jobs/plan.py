"""The plan of a sweep: its runs in order, which are finished, and how long the others may take. No torch."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from attncli import attention, data, sweep, track, validation
from attncli.jobs.estimate import DurationEstimate, DurationHistory, EstimateBasis
from attncli.measure.smallest_image import check_backbone_size
from attncli.recipe import Recipe
from attncli.records import Result
from attncli.runs import read_folder_runs

ALL_CATEGORY = "all"
PlanStatus = Literal["finished", "begun", "new"]


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """One run of a plan, with its result if it is finished, else with an estimate of its duration."""

    recipe: Recipe
    digest: str
    title: str
    result: Result | None
    has_checkpoint: bool
    estimate: DurationEstimate | None = None  # None if it is finished, or if nothing similar was run or timed here
    is_timed: bool = False  # whether its network's speed is measured already
    is_elsewhere: bool = False  # whether its result is in a file of results and not in the folder of runs

    @property
    def is_finished(self) -> bool:
        """Whether there is nothing left to do."""
        return self.result is not None

    @property
    def expected_seconds(self) -> float | None:
        """About how long the run takes with the whole machine, or None if nothing is known."""
        return self.estimate.seconds if self.estimate else None

    @property
    def status(self) -> PlanStatus:
        """Whether the run is finished, begun (it has a checkpoint) or new."""
        return "finished" if self.is_finished else "begun" if self.has_checkpoint else "new"

    def to_json_dict(self) -> dict[str, Any]:
        """Return the run for JSON."""
        return {
            "digest": self.digest,
            "title": self.title,
            "attn": self.recipe.model.attn,
            "backbone": self.recipe.model.backbone_label,
            "dataset": self.recipe.data.name,
            "seed": self.recipe.seed,
            "status": self.status,
            "seconds": self.expected_seconds,
            "seconds_by": None if self.is_finished else self.estimate.basis if self.estimate else "unknown",
            "test_top1": self.result.test_top1 if self.result else None,
            "elsewhere": self.is_elsewhere,
        }


@dataclass(frozen=True)
class SweepPlan:
    """A sweep's name and runs."""

    name: str
    runs: tuple[PlannedRun, ...]

    @property
    def unfinished_runs(self) -> tuple[PlannedRun, ...]:
        """The runs that are not finished."""
        return tuple(run for run in self.runs if not run.is_finished)

    def estimate_seconds(self) -> tuple[float, int]:
        """Return (seconds for the unfinished runs, timings included; how many of these runs have no estimate)."""
        unfinished_runs = self.unfinished_runs
        untimed_recipes = (run.recipe for run in unfinished_runs if run.recipe.measure.speed and not run.is_timed)
        timings = {recipe.compute_group(): recipe.measure.seconds for recipe in untimed_recipes}
        known_seconds = [run.expected_seconds for run in unfinished_runs if run.expected_seconds is not None]
        return sum(known_seconds) + sum(timings.values()), len(unfinished_runs) - len(known_seconds)

    def collect_seeds(self) -> dict[str, set[int]]:
        """Return the seeds of each group of runs, finished ones too."""
        seeds: dict[str, set[int]] = defaultdict(set)
        for run in self.runs:
            seeds[run.recipe.compute_group()].add(run.recipe.seed)
        return seeds

    def count_estimates(self) -> dict[str, int]:
        """Return how many unfinished runs have an estimate of each basis, the most reliable basis first."""
        counts = Counter(run.estimate.basis for run in self.unfinished_runs if run.estimate)
        return {basis: counts[basis] for basis in get_args(EstimateBasis) if basis in counts}


def plan_sweep(
    source: Path | sweep.MechanismList,
    *,
    runs: Path,
    overrides: Iterable[str] = (),
    axes: Mapping[str, Any] | None = None,
) -> SweepPlan:
    """Return the plan of a sweep for the folder of runs. Raises CollectedError for errors in its file."""
    sweep_runs = sweep.read(
        source, check=validation.find_recipe_errors, categories=group_mechanisms(), overrides=overrides, axes=axes
    )
    return plan_recipes(sweep_runs.name, sweep_runs.recipes, runs=runs)


def plan_recipes(name: str, recipes: Sequence[Recipe], *, runs: Path) -> SweepPlan:
    """Return the plan of some recipes, in their order, for the folder of runs.

    If runs of other images are in the way, the recipes get data.content.
    Raises UserError for a recipe that cannot train, as its images have many sizes or are too small for its backbone.
    """
    for recipe in recipes:
        validation.check_image_size(recipe)
        check_backbone_size(recipe, recipe.data.size)
    history, read_digest = DurationHistory(runs), track.cache_digests()
    recipes = [track.pin_changed_images(recipe, runs, read_digest) for recipe in recipes]
    titled_recipes = zip(recipes, sweep.make_titles(recipes), strict=True)
    return SweepPlan(name, tuple(plan_run(recipe, title, runs, history) for recipe, title in titled_recipes))


def plan_run(recipe: Recipe, title: str, runs: Path, history: DurationHistory) -> PlannedRun:
    """Return the plan of one recipe, as it is: images that changed since are not looked for.

    Args:
        recipe: what to train.
        title: how a plan names the run.
        runs: the folder of runs.
        history: finished runs and timings of this folder, for the estimate.
    """
    digest = recipe.compute_digest()
    result = track.read_finished_result(runs / digest)
    return PlannedRun(
        recipe=recipe,
        digest=digest,
        title=title,
        result=result,
        has_checkpoint=result is None and (runs / digest / "checkpoint" / "state.json").exists(),
        estimate=None if result else history.estimate_run(recipe),
        is_timed=result is None and history.is_timed(recipe),
    )


def find_seeds_beyond(plan: SweepPlan, runs: Path) -> tuple[set[int], int]:
    """Return the finished seeds that a sweep adds to, and how many seeds there will be with it, (set(), 0) without any.

    They are those of its mechanisms which it does not have itself, unless its recipe plans as many seeds as all are.
    """
    planned_seeds = plan.collect_seeds()
    recipes = {run.recipe.compute_group(): run.recipe for run in plan.unfinished_runs}
    finished_seeds: dict[str, set[int]] = defaultdict(set)
    for run in read_folder_runs(runs) if recipes else ():
        if run.result.group in recipes and run.recipe.model.attn != attention.NONE:
            finished_seeds[run.result.group].add(run.recipe.seed)
    totals = {group: len(seeds | planned_seeds[group]) for group, seeds in finished_seeds.items()}
    added_to = [
        group
        for group, total in totals.items()
        if total > max(len(planned_seeds[group]), recipes[group].planned_seeds or 0)
    ]
    seeds_beyond = {seed for group in added_to for seed in finished_seeds[group] - planned_seeds[group]}
    return seeds_beyond, max((totals[group] for group in added_to), default=0)


def check_plan_images(plan: SweepPlan) -> None:
    """Raise UserError for images of unfinished runs that a run would refuse, before any of them trains."""
    for data_section in {run.recipe.data.model_dump_json(): run.recipe.data for run in plan.unfinished_runs}.values():
        data.check_images(data_section)


def group_mechanisms() -> dict[str, tuple[str, ...]]:
    """Return the mechanisms of every category, and `all` of them; plug-ins are only in `all`."""
    groups: dict[str, tuple[str, ...]] = {ALL_CATEGORY: attention.mechanism_names()}
    for category in attention.CATEGORIES:
        groups[category] = tuple(
            name for name in attention.mechanism_names() if attention.locate_mechanism(name)[0] == category
        )
    return groups
