"""Which runs of a sweep are finished already in files of results, so that a sweep continues on another machine.

A seed is useful only if all its runs, the plain network's too, were trained under the same conditions on the same kind
of machine. So a seed that is complete in the files is finished, wherever it was trained. Of a seed that is not, only
those runs count whose conditions and code are those here; the others are trained again, with the rest of their seed.
If a sweep has several values of train.precision, each has its own plain network, and its seeds count by themselves.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from attncli.analysis.conditions import describe_conditions
from attncli.data import has_changeable_files
from attncli.errors import UserError
from attncli.jobs import PlannedRun, SweepPlan
from attncli.portable_runs import forget_images
from attncli.recipe import Recipe
from attncli.records import Result
from attncli.runs import FinishedRun
from attncli.track import cache_digests

Conditions = tuple[tuple[str, str], ...]


def mark_finished_elsewhere(
    plan: SweepPlan,
    others: Sequence[FinishedRun],
    runs: Path,
    describe_here: Callable[[Recipe], Conditions] | None = None,
) -> SweepPlan:
    """Return the plan with the results of others in place of the runs that need not be trained here.

    Args:
        plan: The plan for a folder of runs; what is finished there stays finished.
        others: Runs of `attncli.result_files.imported_results`.
        runs: The folder of runs.
        describe_here: The conditions of a training here; by default `describe_conditions_here`.
    """
    images_match, available = _make_image_check(runs), _index_by_recipe(others)
    runs_by_seed: dict[tuple[int, str], list[PlannedRun]] = defaultdict(list)
    for run in plan.runs:
        runs_by_seed[run.recipe.seed, run.recipe.train.precision].append(run)
    chosen: dict[str, Result] = {}  # by digest of the planned run
    for seed_runs in runs_by_seed.values():
        by_conditions = _group_by_conditions(seed_runs, available, images_match)
        complete = [results for results in by_conditions.values() if len(results) == len(seed_runs)]
        if complete:
            chosen |= complete[0]
        elif by_conditions:
            chosen |= by_conditions.get((describe_here or describe_conditions_here)(seed_runs[0].recipe), {})
    return SweepPlan(plan.name, tuple(_mark_finished(run, chosen.get(run.digest)) for run in plan.runs))


def _mark_finished(run: PlannedRun, result: Result | None) -> PlannedRun:
    """Return a planned run as finished elsewhere, if there is a result for it and none here."""
    if run.result is not None or result is None:
        return run
    return replace(run, result=result, estimate=None, is_elsewhere=True)


def _index_by_recipe(others: Sequence[FinishedRun]) -> dict[str, list[Result]]:
    """Return the results of others by the portable digest of their recipe; without those of other code."""
    results: dict[str, list[Result]] = defaultdict(list)
    for other in others:
        with suppress(UserError):  # a user's code that is not here
            if other.recipe.compute_digest() == other.digest:  # else the code of that name is another one here
                results[forget_images(other.recipe).compute_digest()].append(other.result)
    return results


def _group_by_conditions(
    seed_runs: Sequence[PlannedRun],
    available: Mapping[str, Sequence[Result]],
    images_match: Callable[[Recipe, str], bool],
) -> dict[Conditions, dict[str, Result]]:
    """Return the results that there are of a seed's runs, here or elsewhere, by conditions and digest of the run."""
    by_conditions: dict[Conditions, dict[str, Result]] = defaultdict(dict)
    for run in seed_runs:
        if run.result is not None:
            by_conditions[list_conditions(run.result)][run.digest] = run.result
            continue
        for result in available.get(forget_images(run.recipe).compute_digest(), ()):
            if images_match(run.recipe, result.data_digest):
                by_conditions[list_conditions(result)].setdefault(run.digest, result)
    return by_conditions


def list_conditions(result: Result) -> Conditions:
    """Return what the runs of one seed must share: the conditions of `compare`, and the processor or accelerator."""
    return _name_machine(describe_conditions(result), result.machine)


def describe_conditions_here(recipe: Recipe) -> Conditions:
    """Return the conditions under which a sweep would train the recipe on this machine. Loads torch."""
    from attncli.measure.code_state import name_training_code
    from attncli.measure.environment import describe_machine
    from attncli.train import resolve_precision
    from attncli.train.device import choose_device

    device, machine = choose_device(), describe_machine()
    conditions = {
        "precision": resolve_precision(recipe.train.precision, device),
        "device": device.type,
        "torch": ".".join(str(machine["torch"]).split(".")[:2]),
        "processes": "1",
        "code": name_training_code(recipe).partition("/")[0],
    }
    return _name_machine(conditions, machine)


def _name_machine(conditions: Mapping[str, str], machine: Mapping[str, object]) -> Conditions:
    kind = machine.get("cpu" if conditions["device"] == "cpu" else "gpu")
    return tuple(sorted({**conditions, "machine": str(kind)}.items()))


def _make_image_check(runs: Path) -> Callable[[Recipe, str], bool]:
    """Return a function that tells whether the images with a digest are those that a recipe has here.

    Published images are the same everywhere; those that can change must be here.
    """
    read_digest = cache_digests()

    def images_match(recipe: Recipe, data_digest: str) -> bool:
        data = recipe.resolve_data()
        return not has_changeable_files(data) or read_digest(data, cache=runs / "cache") == data_digest

    return images_match
