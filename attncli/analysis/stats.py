"""Statistics of one series of paired differences: means, intervals, tests, and how many seeds they need.

Differences are taken seed by seed between a variant and its baseline, which share all random numbers. The test is
Student's on the differences. Holm's correction keeps the chance of any false alarm in a whole table at the level of
one test. `attncli.analysis.simultaneous` tests all variants of a table together.

Accuracies are whole numbers of images divided by the size of the test set. Values that differ by less than
`records.SMALLEST_DIFFERENCE` are equal: only the rounding of floats makes them differ.

The distributions are those of scipy.special. scipy.stats has the same tests, and tests/analysis/test_stats.py compares
them, but they are not used here: importing scipy.stats takes 0.75 s of CPU time against 0.22 s for scipy.special, and
one call of ttest_1samp takes 0.7 ms against a few microseconds. The noncentral t distribution of the power is
integrated here. scipy has neither Holm's correction nor numbers of seeds.
"""

import itertools
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from attncli.records import SMALLEST_DIFFERENCE

if TYPE_CHECKING:
    import numpy as np

CONFIDENCE = 0.95  # of intervals
ALPHA = 0.05
WANTED_POWER = 0.8
MAX_SEEDS = 10_000
SPREAD_CONFIDENCE = 0.8  # of the range of spreads that a number of seeds is planned for


@dataclass(frozen=True, kw_only=True)
class MeanEstimate:
    """A mean of n values, their standard deviation `sd`, and Student's interval from `low` to `high`.

    `sd` needs two values, and the interval needs two different ones: they are None otherwise.
    """

    n: int
    mean: float
    sd: float | None = None
    low: float | None = None
    high: float | None = None


def standard_deviation(values: Sequence[float]) -> float | None:
    """Return the standard deviation with n - 1 in the denominator, or None for fewer than two values.

    It is exactly 0 if all values are equal but for the rounding of floats. Raises ValueError for a value that is not a
    finite number.
    """
    require_finite(values)
    if len(values) < 2:
        return None
    return 0.0 if max(values) - min(values) <= SMALLEST_DIFFERENCE else statistics.stdev(values)


def require_finite(values: Sequence[float | None]) -> None:
    """Raise ValueError for NaN or an infinite value, which would spread to every figure of a table."""
    for value in values:
        if value is not None and not math.isfinite(value):
            raise ValueError(f"not a finite number: {value}")


def estimate_mean(values: Sequence[float], level: float = CONFIDENCE, overlap: float = 0.0) -> MeanEstimate:
    """Return mean, standard deviation and Student's interval. Raises ValueError for no values.

    `overlap` widens the interval for values of folds, see `standard_error`.
    """
    n, mean, spread = len(values), statistics.fmean(values), standard_deviation(values)
    if not spread:
        return MeanEstimate(n=n, mean=mean, sd=spread)
    half = _t_quantile((1 + level) / 2, n - 1) * standard_error(spread, n, overlap)
    return MeanEstimate(n=n, mean=mean, sd=spread, low=mean - half, high=mean + half)


def standard_error(spread: float, n: int, overlap: float = 0.0) -> float:
    """Return the standard error of a mean of n values of the standard deviation `spread`.

    `overlap` is the number of test images per training image of folds (Nadeau and Bengio 2003, doi:
    10.1023/A:1024068626366, Sec. 3); 0 for independent values. See `attncli.analysis.folds`.
    """
    return spread * math.sqrt(1 / n + overlap)


def t_test(values: Sequence[float], shift: float = 0.0, overlap: float = 0.0) -> float | None:
    """Return the two-sided p value of the mean being `shift`, or None for fewer than two values.

    Without any spread t has no meaning. The p value is then that of the exact sign-flip test, which assumes symmetry
    only: 1 if all values are the shift, else 2^(1-n), so that fewer than six equal differences never prove anything.
    With an `overlap` (see `standard_error`) equal values prove nothing, as they are not independent.
    """
    shifted = [v - shift for v in values]
    spread = standard_deviation(shifted)
    if spread is None:
        return None
    mean = statistics.fmean(shifted)
    if spread == 0:
        return 1.0 if abs(mean) <= SMALLEST_DIFFERENCE or overlap else 2.0 ** (1 - len(values))
    error = standard_error(spread, len(values), overlap)
    return min(1.0, 2 * _t_survival(abs(mean) / error, len(values) - 1))


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """Return each p value corrected for the number of tests by Holm's method (1979).

    None means that nothing was tested: it stays None and does not count as a test. Raises ValueError for NaN.
    """
    require_finite(ps)
    order = sorted((p, i) for i, p in enumerate(ps) if p is not None)
    corrected: list[float | None] = [None] * len(ps)
    highest = 0.0
    for rank, (p, i) in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p))
        corrected[i] = highest
    return corrected


def one_sided_t_test(values: Sequence[float]) -> float | None:
    """Return the p value of the mean being 0 or less, or None for fewer than two values; small means above 0.

    Without any spread it is that of the sign-flip test: 2^-n if all values are above 0, else 1.
    """
    spread = standard_deviation(values)
    if spread is None:
        return None
    mean = statistics.fmean(values)
    if spread == 0:
        return 2.0 ** -len(values) if mean > SMALLEST_DIFFERENCE else 1.0
    return _t_survival(mean / spread * math.sqrt(len(values)), len(values) - 1)


def t_test_power(n: int, spread: float, size: float, alpha: float = ALPHA) -> float:
    """Return the chance that the two-sided paired t test finds a true difference.

    Args:
        n: Number of seeds.
        spread: Standard deviation of the differences.
        size: The true difference.
        alpha: Level of the test.
    """
    if n < 2:
        return 0.0
    if spread == 0:
        return 1.0 if size else alpha
    shift = abs(size) / spread * math.sqrt(n)
    edge = _t_quantile(1 - alpha / 2, n - 1)
    return _noncentral_t_beyond(edge, n - 1, shift)


def _noncentral_t_beyond(edge: float, df: int, shift: float) -> float:
    """Return the chance that |T| > edge for a noncentral t with df degrees of freedom and the noncentrality `shift`.

    T is (Z + shift) / S with a normal Z and S^2 a chi-square over df. So the chance is the mean over S of that of a
    normal to be beyond edge S, by Gauss and Legendre over the range that has all but 2e-13 of S.
    """
    import numpy as np
    from scipy import special

    low, high = (math.sqrt(float(special.chdtri(df, tail)) / df) for tail in (1 - 1e-13, 1e-13))
    nodes, weights = _legendre_nodes()
    scale = low + (high - low) * (nodes + 1) / 2
    log_density = (
        math.log(2) + df / 2 * math.log(df / 2) - math.lgamma(df / 2) + (df - 1) * np.log(scale) - df / 2 * scale**2
    )
    beyond = special.ndtr(shift - edge * scale) + special.ndtr(-shift - edge * scale)
    chance = float(np.sum(weights * np.exp(log_density) * beyond)) * (high - low) / 2
    return min(1.0, round(chance, 10))  # the integral has no more digits


@cache
def _legendre_nodes() -> "tuple[np.ndarray, np.ndarray]":
    import numpy as np

    nodes, weights = np.polynomial.legendre.leggauss(200)
    return nodes, weights


Level = float | Callable[[int], float]  # of a test, or as a function of the number of seeds


def seeds_needed(spread: float, size: float, *, wanted_power: float = WANTED_POWER, alpha: Level = ALPHA) -> int | None:
    """Return the fewest seeds that find a true difference with the wanted chance, or None for more than 10,000.

    Args:
        spread: Standard deviation of the differences.
        size: The true difference.
        wanted_power: The wanted chance.
        alpha: Level of the test, or the level by the number of seeds, which does not fall faster than 1 / n.

    Raises:
        ValueError: `size` is 0.
    """
    if size == 0:
        raise ValueError("no number of seeds finds a difference of 0")

    def is_enough(seeds: int) -> bool:
        level = alpha(seeds) if callable(alpha) else alpha
        return t_test_power(seeds, spread, size, level) >= wanted_power

    low, high = 1, 2
    while not is_enough(high):
        low, high = high, 2 * high
        if low >= MAX_SEEDS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high if high <= MAX_SEEDS else None


def seeds_needed_range(
    spread: float,
    degrees_of_freedom: int,
    size: float,
    *,
    wanted_power: float = WANTED_POWER,
    alpha: Level = ALPHA,
) -> tuple[int | None, int | None]:
    """Return the fewest seeds that find a true difference of `size`, at the lowest and highest plausible spread.

    The spread was itself measured on few seeds: its 80 % interval (chi-square) gives the range. None: over 10,000.

    Args:
        spread: Standard deviation of the differences.
        degrees_of_freedom: Of the spread; of one sample the number of seeds less one.
        size: The true difference; give the smallest one of interest, never the observed one.
        wanted_power: The wanted chance.
        alpha: As `seeds_needed` takes it.
    """
    low, high = (
        seeds_needed(value, size, wanted_power=wanted_power, alpha=alpha)
        for value in find_plausible_spreads(spread, degrees_of_freedom)
    )
    return low, high


def seeds_needed_without_spread(alpha: Callable[[int], float], sides: int) -> int:
    """Return the fewest seeds, all with the same figures, whose sign-flip test with so many sides is below the level.

    `alpha` is the level by the number of seeds.
    """
    return next(n for n in itertools.count(1) if sides * 2.0**-n < alpha(n))


def find_plausible_spreads(spread: float, degrees_of_freedom: int) -> tuple[float, float]:
    """Return the 80 % interval (chi-square) of the true spread, of which `spread` is an estimate."""
    from scipy import special

    tail = (1 - SPREAD_CONFIDENCE) / 2
    low, high = (
        spread * math.sqrt(degrees_of_freedom / float(special.chdtri(degrees_of_freedom, share)))
        for share in (tail, 1 - tail)
    )
    return low, high


def t_critical_value(level: float, degrees_of_freedom: int) -> float:
    """Return the value that |t| exceeds by chance with the probability `level`."""
    return _t_quantile(1 - level / 2, degrees_of_freedom)


def _t_quantile(q: float, df: int) -> float:
    from scipy import special

    return float(special.stdtrit(df, q))


def _t_survival(t: float, df: int) -> float:
    """Return the chance that Student's t with df degrees of freedom is above t."""
    from scipy import special

    return float(special.stdtr(df, -t))
