"""Statistics of paired experiments: means, intervals, tests and how many seeds they need.

Differences are taken seed by seed between a variant and its baseline, which share all random numbers: the test is
Student's on the differences (or the exact sign-flip test, which assumes symmetry only). Holm's correction keeps the
chance of any false alarm in a whole table at the level of one test.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95  # of intervals
ALPHA = 0.05
WANTED_POWER = 0.8
MAX_FLIPPED = 20  # differences of the exact sign-flip test: 2^20 sums
MAX_SEEDS = 10_000


@dataclass(frozen=True, kw_only=True)
class MeanEstimate:
    """A mean of n values; `standard_deviation` and the interval need two of them, and the interval some spread."""

    n: int
    mean: float
    sd: float | None = None
    low: float | None = None
    high: float | None = None


def arithmetic_mean(values: Sequence[float]) -> float:
    """The arithmetic mean. Raises ValueError for no values."""
    if not values:
        raise ValueError("the mean of no values")
    return math.fsum(values) / len(values)


def standard_deviation(values: Sequence[float]) -> float | None:
    """The standard deviation with n - 1 below; None for fewer than two values."""
    if len(values) < 2:
        return None
    if min(values) == max(values):
        return 0.0  # exactly, whatever the mean is rounded to
    middle = arithmetic_mean(values)
    return math.sqrt(math.fsum((v - middle) ** 2 for v in values) / (len(values) - 1))


def estimate_mean(values: Sequence[float], level: float = CONFIDENCE) -> MeanEstimate:
    """Mean, standard deviation and Student's interval. Raises ValueError for no values."""
    n, middle, spread = len(values), arithmetic_mean(values), standard_deviation(values)
    if not spread:
        return MeanEstimate(n=n, mean=middle, sd=spread)
    half = _t_quantile((1 + level) / 2, n - 1) * spread / math.sqrt(n)
    return MeanEstimate(n=n, mean=middle, sd=spread, low=middle - half, high=middle + half)


def paired_differences(variant: Mapping[int, float], baseline: Mapping[int, float]) -> list[float]:
    """Variant minus baseline for every seed that both have, by seed."""
    return [variant[seed] - baseline[seed] for seed in sorted(variant.keys() & baseline.keys())]


def t_test(values: Sequence[float], shift: float = 0.0) -> float | None:
    """Two-sided p that the mean is `shift`; None for fewer than two values.

    Without any spread t has no meaning: 1 where all values are the shift, else the sign-flip test's p.
    """
    shifted = [v - shift for v in values]
    spread = standard_deviation(shifted)
    if spread is None:
        return None
    if spread == 0:
        return sign_flip_test(shifted)
    t = arithmetic_mean(shifted) / spread * math.sqrt(len(shifted))
    return min(1.0, 2 * _t_survival(abs(t), len(shifted) - 1))


def sign_flip_test(values: Sequence[float]) -> float | None:
    """Exact two-sided p of the mean under all 2^n changes of signs; None for no values.

    The smallest it can be is 2^(1-n): with fewer than six differences it never gets below 0.05.
    Raises ValueError for more than 20 values (the t test does as well there).
    """
    import numpy as np

    if len(values) > MAX_FLIPPED:
        raise ValueError(f"the sign-flip test takes at most {MAX_FLIPPED} values, not {len(values)}")
    if not values:
        return None
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    observed = abs(math.fsum(values))
    tolerance = 1e-9 * math.fsum(abs(v) for v in values)  # sums that are equal but for rounding
    return float(np.mean(np.abs(sums) >= observed - tolerance))


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """Each p corrected for the number of tests by Holm's method (1979); None (not tested) stays and counts for none."""
    order = sorted((p, i) for i, p in enumerate(ps) if p is not None)
    corrected: list[float | None] = [None] * len(ps)
    highest = 0.0
    for rank, (p, i) in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p))
        corrected[i] = highest
    return corrected


def non_inferiority_test(values: Sequence[float], margin: float) -> float | None:
    """One-sided p that the mean difference is -margin or worse; small means: no worse by `margin`.

    None for fewer than two values. Raises ValueError for a margin below 0.
    """
    if margin < 0:
        raise ValueError(f"a margin is 0 or more, not {margin}")
    return one_sided_t_test([v + margin for v in values])


def one_sided_t_test(values: Sequence[float]) -> float | None:
    """One-sided p that the mean is 0 or less; small means: it is above 0. None for fewer than two values.

    Without any spread it is the sign-flip test's, 2^-n where all values are above 0, else 1.
    """
    spread = standard_deviation(values)
    if spread is None:
        return None
    if spread == 0:
        return float(0.5 ** len(values)) if arithmetic_mean(values) > 0 else 1.0
    return _t_survival(arithmetic_mean(values) / spread * math.sqrt(len(values)), len(values) - 1)


def t_test_power(n: int, spread: float, size: float, alpha: float = ALPHA) -> float:
    """The chance that the two-sided paired t test of n seeds finds a true difference of `size` at this spread."""
    if n < 2:
        return 0.0
    from scipy import stats

    if spread == 0:
        return 1.0 if size else alpha
    shift = abs(size) / spread * math.sqrt(n)
    edge = _t_quantile(1 - alpha / 2, n - 1)
    # The far tail is taken as its mirror image: since scipy 1.15, nct.cdf is NaN at large shifts.
    return float(stats.nct.sf(edge, n - 1, shift) + stats.nct.sf(edge, n - 1, -shift))


def seeds_needed(spread: float, size: float, *, wanted_power: float = WANTED_POWER, alpha: float = ALPHA) -> int | None:
    """The fewest seeds with which a true difference of `size` is found with the chance `wanted_power`.

    `spread` is the standard deviation of the differences. None beyond 10,000. Raises ValueError for size 0.
    """
    if size == 0:
        raise ValueError("no number of seeds finds a difference of 0")
    low, high = 1, 2
    while t_test_power(high, spread, size, alpha) < wanted_power:
        low, high = high, 2 * high
        if low >= MAX_SEEDS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if t_test_power(middle, spread, size, alpha) >= wanted_power else (middle, high)
    return high if high <= MAX_SEEDS else None


def _t_quantile(q: float, df: int) -> float:
    from scipy import special

    return float(special.stdtrit(df, q))


def _t_survival(t: float, df: int) -> float:
    """The chance that Student's t with df degrees of freedom is above t."""
    from scipy import special

    return float(special.stdtr(df, -t))
