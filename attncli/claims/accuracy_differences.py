"""The differences of accuracy that a claim's figures show: their mean, interval and power are those of the claim."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from attncli.claims.comparison import ClaimComparison
from attncli.claims.evaluate import find_null_difference, find_null_slacks, has_tolerance


@dataclass(frozen=True)
class AccuracyDifferences:
    """Differences seed by seed, and what their mean is compared with: a bound, or an interval around it."""

    by_seed: list[float]
    bound: float
    tolerance: float | None = None


def list_accuracy_differences(
    comparison: ClaimComparison,
    left_values: Sequence[float],
    right_values: Sequence[float],
    slack: Sequence[Sequence[float]],
) -> AccuracyDifferences:
    """Return left minus right by seed, without constants; functions are taken apart as `compute_slacks` does.

    The size of each seed's difference, and the largest of several figures of each seed, would on average be above the
    size and the largest of the means. So of `abs(a - b) < t` it is a - b, and of `a > max(b, c)` the lesser of a - b
    and a - c on average.

    Args:
        comparison: The comparison.
        left_values: Its left side by seed.
        right_values: Its right side by seed.
        slack: What `compute_slacks` returned by seed, a series per thing that the comparison says.
    """
    null_value = find_null_difference(comparison.left, comparison.link, comparison.exact) or 0.0
    by_seed = [a - b - null_value for a, b in zip(left_values, right_values, strict=True)]
    if has_tolerance(comparison.left, comparison.link):
        above, below = slack
        tolerance = statistics.fmean((a + b) / 2 for a, b in zip(above, below, strict=True))
        if comparison.link.sign == "~":
            return AccuracyDifferences(by_seed, 0.0 - null_value, tolerance)
        return AccuracyDifferences([(a - b) / 2 for a, b in zip(above, below, strict=True)], 0.0, tolerance)
    if len(slack) == 1:
        return AccuracyDifferences(by_seed, 0.0 - null_value)  # never -0.0
    weakest = min(range(len(slack)), key=lambda number: statistics.fmean(slack[number]))
    null_slack = find_null_slacks(comparison.left, comparison.link, comparison.exact)[weakest] or 0.0
    sign = 1 if comparison.link.sign in (">", ">=") else -1
    return AccuracyDifferences([sign * (value - null_slack) for value in slack[weakest]], 0.0 - sign * null_slack)
