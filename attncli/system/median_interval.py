"""The interval of a median that holds for any distribution."""

import math
import statistics
from collections.abc import Sequence

LEVEL = 0.95


def compute_median_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return median, low and high: the interval holds the true median with the chance LEVEL, for any distribution.

    Its ends are order statistics (the sign test inverted); with fewer than six values it is unbounded. It is that of
    scipy.stats.quantile_test, whose import takes three times as long (see attncli.analysis.stats).
    """
    from scipy import special

    ordered, n = sorted(values), len(values)
    excluded_ranks = [k for k in range(n // 2) if special.bdtr(k, n, 0.5) <= (1 - LEVEL) / 2]
    if not excluded_ranks:
        return statistics.median(ordered), -math.inf, math.inf
    return statistics.median(ordered), ordered[excluded_ranks[-1]], ordered[n - 1 - excluded_ranks[-1]]
