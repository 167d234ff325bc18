"""Facts of the statistics: closed forms, textbook figures, and that chance alone seldom looks like an effect."""

import itertools
import math
import random

import numpy as np
import pytest

from attncli.analysis import stats

SLEEP = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]  # Student 1908: extra sleep, paired differences


def test_student_1908():
    """The example of the paper that the test is named after: mean 1.58, sd 1.23, t = 4.06, p = 0.0028."""
    found = stats.estimate_mean(SLEEP)
    assert found.mean == pytest.approx(1.58)
    assert found.sd == pytest.approx(1.230, abs=5e-4)
    assert (found.low, found.high) == pytest.approx((0.700, 2.460), abs=5e-4)
    assert stats.t_test(SLEEP) == pytest.approx(0.00283, abs=1e-5)
    assert stats.t_test([v + 5 for v in SLEEP], 5) == pytest.approx(stats.t_test(SLEEP))


def test_two_values():
    """With one degree of freedom t is Cauchy: the interval is mean ± tan(0.475 pi) |a - b| / 2."""
    found = stats.estimate_mean([0.90, 0.94])
    half = math.tan(0.475 * math.pi) * 0.02
    assert (found.low, found.high) == pytest.approx((0.92 - half, 0.92 + half))
    assert stats.t_test([1.0, 3.0]) == pytest.approx(1 - 2 / math.pi * math.atan(2))


def test_one_value_has_no_interval():
    """One seed gives a mean and nothing else."""
    found = stats.estimate_mean([0.9])
    assert (found.n, found.mean, found.sd, found.low, found.high) == (1, 0.9, None, None, None)
    assert stats.t_test([0.9]) is None
    assert stats.one_sided_t_test([0.9]) is None


def test_no_values():
    """The mean of nothing is an error, the test of nothing none."""
    with pytest.raises(ValueError, match="data point"):
        stats.estimate_mean([])
    assert stats.t_test([]) is None
    assert stats.one_sided_t_test([]) is None


def test_no_spread_is_no_proof():
    """Two equal differences are no certainty: there is no interval, and p is the sign-flip test's 2^(1-n)."""
    found = stats.estimate_mean([0.1, 0.1, 0.1])
    assert (found.sd, found.low, found.high) == (0.0, None, None)
    assert stats.t_test([0.1, 0.1]) == 0.5
    assert stats.t_test([0.1] * 3) == 0.25
    assert stats.t_test([0.0, 0.0]) == 1.0
    assert stats.t_test([0.1] * 6) == 2 / 64
    assert stats.t_test([0.1] * 30) == 2 / 2**30
    assert stats.one_sided_t_test([0.1] * 3) == 1 / 8
    assert stats.one_sided_t_test([-0.1] * 3) == stats.one_sided_t_test([0.0] * 3) == 1.0


def test_holm_by_hand():
    """The example 0.01, 0.04, 0.03, 0.005 becomes 0.03, 0.06, 0.06, 0.02; what was not tested counts for none."""
    assert stats.holm([0.01, 0.04, None, 0.03, 0.005]) == pytest.approx([0.03, 0.06, None, 0.06, 0.02])
    assert stats.holm([0.7, 0.6]) == [1.0, 1.0]
    assert stats.holm([]) == []


@pytest.mark.parametrize("n", [2, 5, 9])
def test_as_scipy_has_it(n):
    """Tests, intervals and the sign-flip test agree with those of scipy.stats, which takes longer to load."""
    from scipy import stats as theirs

    values = np.random.default_rng(n).normal(0.3, 1.0, n).tolist()
    above = theirs.ttest_1samp(values, 0, alternative="greater").pvalue
    assert stats.one_sided_t_test(values) == pytest.approx(above)
    assert stats.t_test(values, 0.1) == pytest.approx(theirs.ttest_1samp(values, 0.1).pvalue)
    low, high = theirs.ttest_1samp(values, 0).confidence_interval(0.95)
    estimate = stats.estimate_mean(values)
    assert (estimate.low, estimate.high) == pytest.approx((low, high))
    equal = ([0.25] * n,)
    flips = {"permutation_type": "samples", "n_resamples": np.inf}
    assert stats.t_test(*equal) == theirs.permutation_test(equal, np.mean, **flips).pvalue
    assert (
        stats.one_sided_t_test(*equal) == theirs.permutation_test(equal, np.mean, alternative="greater", **flips).pvalue
    )


@pytest.mark.parametrize(("n", "effect"), [(2, 30), (3, 1), (5, 0.5), (10, 5), (10, 0.3), (1000, 0.1), (9999, 1000)])
def test_power_is_the_share_of_tests_that_find_it(n, effect):
    """The power agrees with an integral over the spread, also for large differences."""
    from scipy import integrate, special
    from scipy.stats import chi, norm

    edge, shift, middle = special.stdtrit(n - 1, 0.975), effect * math.sqrt(n), math.sqrt(n - 1)

    def density(s):
        tails = norm.sf(edge * s / middle - shift) + norm.cdf(-edge * s / middle - shift)
        return tails * chi.pdf(s, n - 1)

    expected, _ = integrate.quad(density, max(0, middle - 12), middle + 12, limit=500)
    assert stats.t_test_power(n, 1.0, effect) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("effect", "n"), [(0.5, 34), (0.8, 15), (1.0, 10)])
def test_seeds_needed_as_in_the_tables(effect, n):
    """Cohen's tables: a paired difference of 0.5, 0.8, 1 sd takes 34, 15, 10 pairs at 80 % power."""
    assert stats.seeds_needed(1.0, effect) == n
    assert stats.t_test_power(n, 1.0, effect) >= 0.8 > stats.t_test_power(n - 1, 1.0, effect)


def test_seeds_needed_at_the_ends():
    """No spread: two seeds do; a hopeless spread: no number; no difference: an error."""
    assert stats.seeds_needed(0.0, 0.1) == 2
    assert stats.seeds_needed(1.0, 0.001) is None
    with pytest.raises(ValueError, match="difference of 0"):
        stats.seeds_needed(1.0, 0)


def test_seeds_needed_at_a_level_that_falls_with_them():
    """At 0.04 / n a difference of one spread takes 21 seeds: by scipy's noncentral t 20 have less than 80 %."""
    from scipy.stats import nct, t

    def compute_power(n):
        edge, shift = t.isf(0.04 / n / 2, n - 1), math.sqrt(n)
        return nct.sf(edge, n - 1, shift) + nct.cdf(-edge, n - 1, shift)

    n = stats.seeds_needed(1.0, 1.0, alpha=lambda seeds: 0.04 / seeds)
    assert n == 21
    assert compute_power(n) >= 0.8 > compute_power(n - 1)
    assert stats.seeds_needed(1.0, 0.005, alpha=lambda seeds: 0.04 / seeds) is None


def test_power_of_no_effect_is_the_level():
    """Without any difference the test cries wolf at its level."""
    assert stats.t_test_power(5, 1.0, 0.0) == pytest.approx(0.05, abs=1e-6)


@pytest.mark.parametrize("spread", [0.05, 0.15, 0.25, 0.5, 1.0, 4.0])
def test_power_grows_with_the_seeds(spread):
    """Each seed more finds a difference more often, also where it is found nearly always."""
    powers = [stats.t_test_power(n, spread, 0.5) for n in range(2, 60)]
    assert all(before <= after for before, after in itertools.pairwise(powers))
    assert powers[0] > 0
    assert powers[-1] <= 1


@pytest.mark.parametrize(("tests", "spread", "n"), [(32, 0.25, 9), (32, 0.15, 6), (10, 0.15, 5)])
def test_seeds_needed_for_a_large_difference(tests, spread, n):
    """As statsmodels' TTestPower.solve_power, rounded up, says for a difference of 0.5 in one of so many tests."""
    assert stats.seeds_needed(spread, 0.5, alpha=0.05 / tests) == n


def test_false_alarms():
    """Of 2,000 tables of five comparisons without any effect, at most some 5 % hold a p below 0.05 after Holm.

    Uncorrected it would be about 23 %. The bounds are four standard errors wide.
    """
    chance = random.Random(1)
    tables = [[stats.t_test([chance.gauss(0, 1) for _ in range(4)]) for _ in range(5)] for _ in range(2000)]
    corrected = sum(min(stats.holm(ps)) < 0.05 for ps in tables) / len(tables)
    single = sum(ps[0] < 0.05 for ps in tables) / len(tables)
    uncorrected = sum(min(ps) < 0.05 for ps in tables) / len(tables)
    assert 0.03 < corrected < 0.07
    assert 0.03 < single < 0.07
    assert 0.18 < uncorrected < 0.28


def test_intervals_cover():
    """The 95 % interval of three values holds the truth in about 95 % of 3,000 trials."""
    chance = random.Random(2)
    found = [stats.estimate_mean([chance.gauss(7, 2) for _ in range(3)]) for _ in range(3000)]
    assert 0.934 < sum(e.low < 7 < e.high for e in found) / len(found) < 0.966
