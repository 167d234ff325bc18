"""Which failed runs are seeds of which variant."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from attncli.analysis.conditions import (
    CONDITION_NAMES,
    UNKNOWN,
    describe_conditions,
    name_mechanism_code,
    name_network_files,
)
from attncli.analysis.run_keys import list_failure_keys, make_recipe_key
from attncli.portable_runs import has_own_cut
from attncli.records import Result
from attncli.runs import FailedRun, FinishedRun

FailuresByRecipe = Mapping[str, Sequence[FailedRun]]


def group_failures(failures: Sequence[FailedRun]) -> FailuresByRecipe:
    """Return failed runs by what they share with the finished runs of their variant (`run_keys.make_recipe_key`)."""
    by_recipe: dict[str, list[FailedRun]] = defaultdict(list)
    for failure in failures:
        by_recipe[make_recipe_key(failure.recipe, failure.group, failure.data_digest)].append(failure)
    return by_recipe


def select_failures(
    failures: FailuresByRecipe, runs: Iterable[FinishedRun], conditions: Mapping[str, str]
) -> list[FailedRun]:
    """Return the failed runs that differ from finished ones in their seed or fold alone, as far as they say.

    Args:
        failures: What `group_failures` returned.
        runs: The finished runs of a variant.
        conditions: Those of the finished runs. What they or a failed run do not say is no difference.
    """
    results = {key: run.result for run in runs for key in list_failure_keys(run)}
    return [
        failure
        for key, result in results.items()
        for failure in failures.get(key, ())
        if _matches(failure, result, conditions)
    ]


def _matches(failure: FailedRun, result: Result, conditions: Mapping[str, str]) -> bool:
    """Return whether nothing that both say of images, conditions, code and files differs."""
    pairs = [(failure.data_digest, result.data_digest)] if not has_own_cut(failure.recipe) else []
    if failure.code and result.code:
        pairs.append((name_mechanism_code(failure), name_mechanism_code(result)))
    pairs.append((name_network_files(failure), name_network_files(result)))
    own = describe_conditions(failure)
    names = [name for name in CONDITION_NAMES if name != "processes" or failure.machine]
    pairs += [(own[name], conditions.get(name, UNKNOWN)) for name in names]
    return all(one == other or not {one, other}.isdisjoint(("", UNKNOWN)) for one, other in pairs)
