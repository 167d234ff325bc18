"""Which failed runs are seeds of which variant."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from attncli.analysis.conditions import CONDITION_NAMES, UNKNOWN, describe_conditions, name_mechanism_code
from attncli.analysis.variants import has_own_cut
from attncli.records import Result
from attncli.runs import FailedRun

FailuresByGroup = Mapping[str, Sequence[FailedRun]]


def group_failures(failures: Sequence[FailedRun]) -> FailuresByGroup:
    """Return failed runs by group."""
    by_group: dict[str, list[FailedRun]] = defaultdict(list)
    for failure in failures:
        by_group[failure.group].append(failure)
    return by_group


def select_failures(failures: FailuresByGroup, result: Result, conditions: Mapping[str, str]) -> list[FailedRun]:
    """Return the failed runs that differ from a finished one in their seed or fold alone, as far as they say.

    Args:
        failures: Failed runs by group.
        result: The result of a finished run.
        conditions: Those of the finished run. What it or a failed run does not say is no difference.
    """
    return [failure for failure in failures.get(result.group, ()) if _matches(failure, result, conditions)]


def _matches(failure: FailedRun, result: Result, conditions: Mapping[str, str]) -> bool:
    """Return whether nothing that both say of images, conditions and code of the mechanism differs."""
    pairs = [(failure.data_digest, result.data_digest)] if not has_own_cut(failure.recipe) else []
    if failure.code and result.code:
        pairs.append((name_mechanism_code(failure), name_mechanism_code(result)))
    own = describe_conditions(failure)
    names = [name for name in CONDITION_NAMES if name != "processes" or failure.machine]
    pairs += [(own[name], conditions.get(name, UNKNOWN)) for name in names]
    return all(one == other or not {one, other}.isdisjoint(("", UNKNOWN)) for one, other in pairs)
