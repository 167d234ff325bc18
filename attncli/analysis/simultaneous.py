"""Test all variants of a table against their shared baseline together, with intervals that hold together.

The variants of a table share the baseline's runs, and the seeds are blocks: seed s has one difference D[s, k] to the
baseline per variant k. Each variant's own variance has n - 1 degrees of freedom, which is almost nothing at n = 3. So
the variances are shrunk to their common value, as in the moderated t test (Smyth 2004, doi:10.2202/1544-6115.1027):

    v_k = (d0 s0^2 + (n_k - 1) s_k^2) / (d0 + n_k - 1)        T_k = mean_k / sqrt(v_k / n_k)

`s0^2` is the mean of the variances s_k^2. The prior weight d0 is fixed: an estimate of it from few variants is itself
too uncertain. A difference is one that chance does not explain if |T_k| is above the critical value of max_k |T_k|, as
in Dunnett's test (1955) of many variants against one baseline. The distribution of the maximum has no formula here. It
is simulated for exactly the seeds that each variant has, in networks whose spreads differ (log standard deviation
scattered by `SPREAD_SCATTER`). With one variant the test is Student's. Beyond all that was simulated, at levels of 1 of
20,000 and less, it is Student's with Bonferroni's correction.

Variants may be alike: a share of their variance may be the same for all of them, beside the baseline's. Then the s_k^2
are too, and their mean knows little more than one of them. The share is not known, and two or three seeds hardly show
it. So the p value is the largest over the shares of `SHARED_VARIANCES`. To pay less for that, |T_k| is divided by
`CAUTION` if the differences of all variants move together more than those of independent ones would
(`compute_togetherness`, `CAUTIOUS_FROM`).

tests/analysis/audit.py measures the error rates and the power, and what an oracle would find that knows the spreads.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from attncli.analysis import stats
from attncli.records import SMALLEST_DIFFERENCE

if TYPE_CHECKING:
    import numpy as np

PRIOR_WEIGHT = 6.0  # d0, degrees of freedom
SPREAD_SCATTER = 0.4  # standard deviation of the log spread of networks
SHARED_VARIANCES = (0.0, 0.3, 0.6, 0.8, 0.9, 0.97, 1.0)  # of the variants, beside the baseline's
CAUTION = 2.0  # divides the statistic of variants that move together
CAUTIOUS_FROM = {2: 0.1, 3: 0.2, 4: 0.6, 5: 0.6}  # togetherness by number of seeds; with more seeds it is not needed
DRAWS, FEWEST_DRAWS, DRAWN_NUMBERS = 20_000, 4_000, 6_000_000  # of the null distribution, and normal numbers for it
CHUNK = 2_000  # draws at a time, to bound the memory


@dataclass(frozen=True, kw_only=True)
class SimultaneousEstimate:
    """The difference of one variant to the baseline, tested together with the others of its table.

    `p` is corrected for all variants of the table. `low` and `high` are None if the differences do not vary at all.
    `spread` is the standard deviation of a difference at one seed, moderated. As an estimate of the variant's own it is
    as certain as `degrees_of_freedom` say: the prior, a mean of other spreads, counts half. An interval of 80 % then
    holds the true spread in 70 to 85 % of cases (tests/analysis/audit.py: 2 to 36 variants, 3 to 8 seeds, a scatter of
    `SPREAD_SCATTER`).
    """

    mean: float
    p: float
    low: float | None
    high: float | None
    spread: float
    degrees_of_freedom: int


def compare_with_baseline(
    differences: Sequence[Mapping[int, float]], levels: Sequence[float], overlap: float = 0.0
) -> list[SimultaneousEstimate | None]:
    """Test the differences of several variants to one baseline together.

    Args:
        differences: For each variant the differences by seed. A variant with fewer than two seeds is not tested.
        levels: For each variant the level alpha of its test; the interval has the confidence 1 - alpha.
        overlap: Of the training images of different seeds, if they are folds; see `stats.standard_error`.

    Returns:
        One estimate per variant, None for a variant that is not tested. The p value is below the level exactly if the
        interval does not hold 0.

    Raises:
        ValueError: A difference is not a finite number.
    """
    tested = [i for i, by_seed in enumerate(differences) if len(by_seed) > 1]
    for by_seed in differences:
        stats.require_finite(list(by_seed.values()))
    estimates: list[SimultaneousEstimate | None] = [None] * len(differences)
    if not tested:
        return estimates
    series = [differences[i] for i in tested]
    variances = [(stats.standard_deviation(list(by_seed.values())) or 0.0) ** 2 for by_seed in series]
    freedoms = [len(by_seed) - 1 for by_seed in series]
    common_variance = sum(v * f for v, f in zip(variances, freedoms, strict=True)) / sum(freedoms)
    weight = PRIOR_WEIGHT if len(tested) > 1 else 0.0
    family = _Family(
        tests=len(tested),
        degrees_of_freedom=sum(freedoms),
        overlap=overlap,
        null=None if len(tested) == 1 else _simulate_null(_describe_pattern(series)),
        caution=_choose_caution(series),
    )
    for i, variance, freedom in zip(tested, variances, freedoms, strict=True):
        moderated_variance = (weight * common_variance + freedom * variance) / (weight + freedom)
        estimates[i] = _test_variant(list(differences[i].values()), moderated_variance, levels[i], family)
    return estimates


@dataclass(frozen=True, kw_only=True)
class _Family:
    """What the tests of one table share; see `compare_with_baseline` for `overlap` and `_choose_caution`."""

    tests: int
    degrees_of_freedom: int
    overlap: float
    null: "np.ndarray | None"  # of `_simulate_null`; a single test has none and is Student's
    caution: float


def _test_variant(values: Sequence[float], variance: float, level: float, family: _Family) -> SimultaneousEstimate:
    """Return the estimate of one variant from its differences and their moderated variance."""
    overlap = family.overlap
    mean, spread = math.fsum(values) / len(values), math.sqrt(variance)
    if spread <= SMALLEST_DIFFERENCE:
        p = min(1.0, family.tests * (stats.t_test([mean] * len(values), overlap=overlap) or 1.0))
        return SimultaneousEstimate(mean=mean, p=p, low=None, high=None, spread=0.0, degrees_of_freedom=0)
    error = stats.standard_error(spread, len(values), overlap)
    if family.null is None:
        p, reach = stats.t_test(values, overlap=overlap) or 0.0, stats.t_critical_value(level, len(values) - 1) * error
    else:
        p = _find_p_value(abs(mean) / error / family.caution, family.null)
        reach = _find_critical_value(level, family.null) * family.caution * error
        rarest = 1 / (family.null.shape[1] + 1)
        if p <= rarest:
            p = min(p, _compute_tail_p_value(values, family))
        if level <= rarest:
            reach = max(reach, _compute_tail_reach(values, level, family))
    return SimultaneousEstimate(
        mean=mean,
        p=p,
        low=mean - reach,
        high=mean + reach,
        spread=spread,
        degrees_of_freedom=min(family.degrees_of_freedom, len(values) - 1 + round(PRIOR_WEIGHT / 2)),
    )


def _compute_tail_p_value(values: Sequence[float], family: _Family) -> float:
    """Return Student's p value of one variant, times the number of tests (Bonferroni); 1 without a spread.

    It is for differences larger than all that were simulated, and needs no assumption about the other variants.
    """
    p = stats.t_test(values, overlap=family.overlap) if stats.standard_deviation(values) else None
    return 1.0 if p is None else min(1.0, family.tests * p)


def _compute_tail_reach(values: Sequence[float], level: float, family: _Family) -> float:
    """Return how far an interval reaches to each side of its mean that belongs to `_compute_tail_p_value`."""
    spread = stats.standard_deviation(values)
    if not spread:
        return math.inf
    error = stats.standard_error(spread, len(values), family.overlap)
    return stats.t_critical_value(level / family.tests, len(values) - 1) * error


def _find_p_value(statistic: float, null: "np.ndarray") -> float:
    """Return the share of maxima that are as large, the observed one counted too, where that share is largest.

    `null` (shares of variance, draws) has one ascending row per shared variance.
    """
    draws = null.shape[1]
    return max(float(draws - row.searchsorted(statistic, side="left") + 1) / (draws + 1) for row in null)


def _find_critical_value(level: float, null: "np.ndarray") -> float:
    """Return the value above which `_find_p_value` is below the level; the largest drawn if no draws can reach it."""
    draws = null.shape[1]
    fewer_than = math.ceil(level * (draws + 1)) - 1  # p < level if fewer maxima than this are as large
    return float(null[:, draws - max(1, fewer_than)].max())


Pattern = tuple[tuple[bool, ...], ...]  # for each variant which seeds it has


def _describe_pattern(differences: Sequence[Mapping[int, float]]) -> Pattern:
    """Return which variant has which seed, in an order in which equal designs are equal."""
    seeds = sorted(set().union(*differences))
    columns = [tuple(seed in by_seed for by_seed in differences) for seed in seeds]
    rows = zip(*sorted(columns, reverse=True), strict=True)
    return tuple(sorted(rows, reverse=True))


def _choose_caution(differences: Sequence[Mapping[int, float]]) -> float:
    """Return what the statistics of these differences are divided by: 1 or `CAUTION`."""
    import numpy as np

    if len(differences) == 1:
        return 1.0
    seeds = sorted(set().union(*differences))
    mask = np.array([[seed in by_seed for by_seed in differences] for seed in seeds], dtype=np.float32)
    values = np.array([[by_seed.get(seed, 0.0) for by_seed in differences] for seed in seeds])
    return float(_list_cautions(values[None], mask)[0])


def _list_cautions(differences: "np.ndarray", mask: "np.ndarray") -> "np.ndarray":
    """Return what the statistics of each draw are divided by, for differences (draws, seeds, variants): (draws,)."""
    import numpy as np

    limit = CAUTIOUS_FROM.get(len(mask), math.inf)
    return np.where(compute_togetherness(differences, mask) >= limit, CAUTION, 1.0)


def compute_togetherness(differences: "np.ndarray", mask: "np.ndarray") -> "np.ndarray":
    """Return how much the differences of all variants move together from seed to seed: (draws,).

    About 0 for independent variants with one baseline, 1 if all differences of a seed are the same but for a constant.
    Arguments as those of `compute_statistics`.
    """
    import numpy as np

    deviations = (differences - (differences * mask).sum(axis=1, keepdims=True) / mask.sum(axis=0)) * mask
    together = (deviations.sum(axis=2) ** 2 / mask.sum(axis=1)).sum(axis=1)
    share = together / np.maximum((deviations**2).sum(axis=(1, 2)), np.finfo(np.float32).tiny)
    independent_share = (mask.shape[1] + 1) / (2 * mask.shape[1])
    togetherness: np.ndarray = (share - independent_share) / (1 - independent_share)
    return togetherness


@lru_cache(maxsize=64)
def _simulate_null(pattern: Pattern) -> "np.ndarray":
    """Return maxima of |T_k| without any true difference, ascending: a row per value of `SHARED_VARIANCES`."""
    import numpy as np

    mask = np.array(pattern, dtype=np.float32).T  # (seeds, variants)
    draws = int(min(DRAWS, max(FEWEST_DRAWS, DRAWN_NUMBERS / (mask.shape[0] * (mask.shape[1] + 2)))))
    rng = np.random.default_rng(0)
    sizes = [CHUNK] * (draws // CHUNK) + [draws % CHUNK] * (draws % CHUNK > 0)
    return np.sort(np.concatenate([_draw_null_maxima(mask, size, rng) for size in sizes], axis=1), axis=1)


def _draw_null_maxima(mask: "np.ndarray", draws: int, rng: "np.random.Generator") -> "np.ndarray":
    """Draw maxima of |T_k|, (shared variances, draws), in networks of unequal spreads whose differences are correlated.

    A run's deviation is the spread of its network times a normal number. That of a variant consists of one that all
    variants of a seed share and one of its own. The baseline has one too, which is in the differences of all variants.
    """
    import numpy as np

    seeds, variants = mask.shape
    spreads = np.exp(SPREAD_SCATTER * rng.standard_normal((draws, 1, 1 + variants), dtype=np.float32))
    noise = rng.standard_normal((draws, seeds, 2 + variants), dtype=np.float32)
    spread_of_baseline, spread_of_variants = spreads[:, :, :1], spreads[:, :, 1:]  # (draws, 1, 1 or variants)
    of_baseline, common, own = noise[:, :, :1], noise[:, :, 1:2], noise[:, :, 2:]  # (draws, seeds, 1 or variants)
    maxima = []
    for shared in SHARED_VARIANCES:
        of_variants = math.sqrt(1 - shared) * own + math.sqrt(shared) * common  # (draws, seeds, variants)
        differences = of_variants * spread_of_variants - of_baseline * spread_of_baseline
        largest = np.abs(compute_statistics(differences, mask)).max(axis=1)  # (draws,)
        maxima.append(largest / _list_cautions(differences, mask))
    return np.stack(maxima)


def compute_statistics(differences: "np.ndarray", mask: "np.ndarray") -> "np.ndarray":
    """Return T_k (draws, variants) of differences (draws, seeds, variants), of which `mask` (seeds, variants) count."""
    import numpy as np

    counts = mask.sum(axis=0)
    means = (differences * mask).sum(axis=1) / counts
    freedoms = counts - 1
    sums = (((differences - means[:, None]) ** 2) * mask).sum(axis=1)
    common = sums.sum(axis=1, keepdims=True) / freedoms.sum()
    moderated = (PRIOR_WEIGHT * common + sums) / (PRIOR_WEIGHT + freedoms)
    statistics: np.ndarray = means / np.sqrt(moderated / counts)
    return statistics
