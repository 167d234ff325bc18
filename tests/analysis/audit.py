"""Simulated error rates and power of the comparison, with accuracies that are whole numbers of images.

    python -m tests.analysis.audit              # all tables, about twenty minutes on one core
    python -m tests.analysis.audit --quick      # the same with 500 experiments a cell, about six minutes
    python -m tests.analysis.audit --short      # what the tests run, seconds

Each experiment draws accuracies of a baseline and of variants at some seeds, rounds them to whole images, and gives
them to the functions that `attncli compare` uses. `before` is the rule of version 0.1.0: Holm's correction of single t
tests at 5 %, on floats.
"""

import itertools
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np
from scipy import special

from attncli.analysis import simultaneous, stats
from attncli.analysis.difference_verdict import word_estimate
from attncli.analysis.looks import FIRST_LEVEL, UNPLANNED_LEVEL, SeedPlan
from tests.analysis import fold_audit

MARGIN = 0.005
PATTERNS = 5  # of missing seeds: each needs a null distribution of its own
SEED_COUNTS, VARIANT_COUNTS = (2, 3, 5, 10), (1, 5, 32)


@dataclass(frozen=True)
class Setting:
    """How accuracies are drawn: test images, mean, spread of a run and correlation within a seed.

    `scatter` is the standard deviation of the log spread of networks, `shared` the share of the variants' own variance
    that is the same for all of them, `missing` the chance that a seed of a variant is missing, `loud` the factor of the
    first variant's own spread.
    """

    images: int | None
    mean: float
    spread: float
    correlation: float
    scatter: float = 0.0
    shared: float = 0.0
    missing: float = 0.0
    loud: float = 1.0


DIGITS = Setting(359, 0.98, 0.0085, 0.55)
FOLDER = Setting(400, 0.50, 0.015, 0.55)
CIFAR = Setting(10_000, 0.85, 0.0030, 0.3)
SMOOTH = Setting(None, 0.85, 0.0030, 0.3)
UNEQUAL = Setting(10_000, 0.85, 0.0030, 0.3, scatter=0.4)
ALIKE = Setting(10_000, 0.85, 0.0030, 0.3, shared=0.5)
VERY_ALIKE = Setting(10_000, 0.85, 0.0030, 0.3, scatter=0.4, shared=0.8)
TWINS = Setting(10_000, 0.85, 0.0030, 0.3, shared=0.95)
UNEQUAL_TWINS = Setting(10_000, 0.85, 0.0030, 0.3, scatter=0.4, shared=0.95)
MISSING = Setting(10_000, 0.85, 0.0030, 0.3, missing=0.15)
SETTINGS = {
    "digits": DIGITS, "folder": FOLDER, "cifar": CIFAR, "smooth": SMOOTH, "unequal": UNEQUAL, "alike": ALIKE,
    "very alike, unequal": VERY_ALIKE, "twins": TWINS, "twins, unequal": UNEQUAL_TWINS, "missing": MISSING,
}  # fmt: skip


def draw_accuracies(
    setting: Setting, seeds: int, variants: int, times: int, rng: np.random.Generator, effects: Sequence[float] = ()
) -> np.ndarray:
    """Return accuracies (times, seeds, 1 + variants), the baseline first; `effects` are those of the first variants."""
    common = rng.standard_normal((times, seeds, 1))
    own = rng.standard_normal((times, seeds, 1 + variants))
    if setting.shared:
        together = rng.standard_normal((times, seeds, 1))
        own[:, :, 1:] = np.sqrt(1 - setting.shared) * own[:, :, 1:] + np.sqrt(setting.shared) * together
    own[:, :, 1] *= setting.loud
    own *= np.exp(setting.scatter * rng.standard_normal((times, 1, 1 + variants)))
    noise = np.sqrt(setting.correlation) * common + np.sqrt(1 - setting.correlation) * own
    accuracies = setting.mean + setting.spread * noise
    for k, effect in enumerate(effects):
        accuracies[:, :, 1 + k] += effect
    if setting.images is None:
        return accuracies
    return np.clip(np.rint(accuracies * setting.images), 0, setting.images) / setting.images


def list_differences(accuracies: np.ndarray, setting: Setting, rng: np.random.Generator) -> list[Mapping[int, float]]:
    """Return the differences of one experiment (seeds, 1 + variants) by variant and seed, from whole images."""
    images = setting.images or 10**15
    counts = np.rint(accuracies * images)
    differences = (counts[:, 1:] - counts[:, :1]) / images
    kept = _draw_kept(differences.shape, setting.missing, int(rng.integers(PATTERNS)))
    return [
        {s: float(differences[s, k]) for s in range(len(differences)) if kept[s, k]}
        for k in range(differences.shape[1])
    ]


@cache
def _draw_kept(shape: tuple[int, int], missing: float, pattern: int) -> np.ndarray:
    """Return which seeds of which variants are there, one of a few patterns; two seeds of each always are."""
    kept: np.ndarray = np.random.default_rng(pattern).random(shape) >= missing
    kept[:2] = True
    return kept


def judge_experiment(differences: Sequence[Mapping[int, float]], plan: SeedPlan) -> list[str]:
    """Return the verdicts of one table, as `attncli compare` words them."""
    seeds = max(map(len, differences))
    levels = [plan.choose_level(seeds) for _ in differences]  # a missing seed does not come any more
    estimates = simultaneous.compare_with_baseline(differences, [level or stats.ALPHA for level in levels])
    return [
        "undecided" if estimate is None or level is None else word_estimate(estimate, level, MARGIN) or "undecided"
        for estimate, level in zip(estimates, levels, strict=True)
    ]


def judge_as_before(accuracies: np.ndarray) -> list[str]:
    """Return the verdicts of version 0.1.0 on accuracies (seeds, 1 + variants)."""
    differences = [[row[k] - row[0] for row in accuracies.tolist()] for k in range(1, accuracies.shape[1])]
    ps = [_test_as_before(values) for values in differences]
    return [
        ("better" if statistics.fmean(values) > 0 else "worse")
        if (p or 0.0) < stats.ALPHA
        else _word_interval_as_before(values)
        for values, p in zip(differences, stats.holm(ps), strict=True)
    ]


def _test_as_before(values: Sequence[float]) -> float:
    spread, mean = statistics.stdev(values), statistics.fmean(values)
    if spread == 0:
        return 1.0 if mean == 0 else 2.0 ** (1 - len(values))
    return min(1.0, 2 * float(special.stdtr(len(values) - 1, -abs(mean) / spread * np.sqrt(len(values)))))


def _word_interval_as_before(values: Sequence[float]) -> str:
    estimate = stats.estimate_mean(values)
    if estimate.low is None or estimate.high is None:
        return "undecided"
    return "no difference" if max(-estimate.low, estimate.high) < MARGIN else "undecided"


def plan_once(seeds: int) -> SeedPlan:
    """Return the plan of a sweep that had so many seeds from the start."""
    return SeedPlan((seeds,))


def count_false_alarms(setting: Setting, seeds: int, variants: int, times: int, *, before: bool = False) -> float:
    """Return the share of tables without any effect in which a variant is called better or worse."""
    rng = np.random.default_rng(100 * seeds + variants)
    accuracies = draw_accuracies(setting, seeds, variants, times, rng)
    alarms = 0
    for experiment in accuracies:
        verdicts = (
            judge_as_before(experiment)
            if before
            else judge_experiment(list_differences(experiment, setting, rng), plan_once(seeds))
        )
        alarms += any(v.startswith(("better", "worse")) for v in verdicts)
    return alarms / times


def measure_power(
    setting: Setting, seeds: int, variants: int, effect: float, times: int, *, before: bool = False
) -> tuple[float, float]:
    """Return how often the one variant with an effect is called better, and how often any other is called so."""
    rng = np.random.default_rng(100 * seeds + variants)
    accuracies = draw_accuracies(setting, seeds, variants, times, rng, effects=(effect,))
    right = wrong = 0
    for experiment in accuracies:
        verdicts = (
            judge_as_before(experiment)
            if before
            else judge_experiment(list_differences(experiment, setting, rng), plan_once(seeds))
        )
        right += verdicts[0].startswith("better")
        wrong += any(v.startswith(("better", "worse")) for v in verdicts[1:])
    return right / times, wrong / times


def measure_oracle_power(scatter: float, seeds: int, variants: int, effect: float, spread: float, times: int) -> float:
    """Return how often an oracle that knows the spread of every network finds the effect of the first variant.

    It tests at the level of a first plan, the largest of all statistics, whose networks share nothing but the baseline.
    No test without its knowledge finds more. `spread` is the standard deviation of a difference of equal networks.
    """
    rng = np.random.default_rng(100 * seeds + variants)
    spreads = spread / np.sqrt(2) * np.exp(scatter * rng.standard_normal((2, times, 1, variants + 1)))
    values = spreads * rng.standard_normal((2, times, seeds, variants + 1))
    means = (values[..., 1:] - values[..., :1]).mean(axis=2)
    means[1, :, 0] += effect
    errors = np.sqrt((spreads[:, :, 0, 1:] ** 2 + spreads[:, :, 0, :1] ** 2) / seeds)
    statistics_ = np.abs(means / errors)
    critical = np.quantile(statistics_[0].max(axis=1), 1 - FIRST_LEVEL)
    return float((statistics_[1, :, 0] > critical).mean())


def measure_price_of_likeness(scatter: float, seeds: int, variants: int, effect: float, spread: float) -> float:
    """Return the power if it were known that variants share nothing: what false alarms of alike variants cost.

    The same statistic, with the null distribution of independent variants alone.
    """
    mask = np.ones((seeds, variants), dtype=np.float32)
    rng = np.random.default_rng(100 * seeds + variants)
    spreads = spread / np.sqrt(2) * np.exp(scatter * rng.standard_normal((2, 20_000, 1, variants + 1)))
    values = spreads * rng.standard_normal((2, 20_000, seeds, variants + 1))
    differences = values[..., 1:] - values[..., :1]
    differences[1, :, :, 0] += effect
    null, found = (np.abs(simultaneous.compute_statistics(half, mask)) for half in differences)
    return float((found[:, 0] > np.quantile(null.max(axis=1), 1 - FIRST_LEVEL)).mean())


def count_false_equalities(setting: Setting, seeds: int, variants: int, times: int, *, before: bool = False) -> float:
    """Return the share of tables that call a variant "no difference" though all differ by exactly the margin."""
    rng = np.random.default_rng(100 * seeds + variants)
    accuracies = draw_accuracies(setting, seeds, variants, times, rng, effects=[MARGIN] * variants)
    alarms = 0
    for experiment in accuracies:
        verdicts = (
            judge_as_before(experiment)
            if before
            else judge_experiment(list_differences(experiment, setting, rng), plan_once(seeds))
        )
        alarms += any(v.startswith("no difference") for v in verdicts)
    return alarms / times


def follow_advice(
    setting: Setting, start: int, variants: int, times: int, *, last: int = 20, one_by_one: bool = False
) -> float:
    """Return the share of users with no effect who end with "better" or "worse" anywhere.

    A user sweeps `start` seeds and then, as long as a variant is undecided, as many as the tool advises (at the lower
    end of its range), up to `last`. With `one_by_one` no sweep plans anything, and each further seed is looked at.
    """
    rng = np.random.default_rng(100 * start + variants)
    accuracies = draw_accuracies(setting, last, variants, times, rng)
    return sum(_ends_in_alarm(experiment, setting, start, last, one_by_one) for experiment in accuracies) / times


def _ends_in_alarm(accuracies: np.ndarray, setting: Setting, start: int, last: int, one_by_one: bool) -> bool:
    seeds, steps = start, (start,)
    while True:
        differences = list_differences(accuracies[:seeds], setting, np.random.default_rng(0))
        plan = SeedPlan() if one_by_one else SeedPlan(steps)
        verdicts = judge_experiment(differences, plan)
        if any(v.startswith(("better", "worse")) for v in verdicts):
            return True
        if seeds >= last or "undecided" not in verdicts:
            return False
        seeds = seeds + 1 if one_by_one else min(last, _advise_seeds(differences, plan, seeds))
        steps = (*steps, seeds)


def _advise_seeds(differences: Sequence[Mapping[int, float]], plan: SeedPlan, seeds: int) -> int:
    """Return the lower end of the advised number of seeds."""
    estimates = simultaneous.compare_with_baseline(differences, [stats.ALPHA] * len(differences))
    spread = max(estimate.spread for estimate in estimates if estimate is not None)
    freedom = max(estimate.degrees_of_freedom for estimate in estimates if estimate is not None)
    if not spread:
        return seeds + 1
    low, _ = stats.seeds_needed_range(
        spread, freedom, MARGIN, alpha=lambda n: plan.choose_next_level(seeds, n) / len(differences)
    )
    return max(seeds + 1, low or 10**6)


def count_alarms(levels: Mapping[int, float], times: int) -> float:
    """Return the share of single comparisons without effect that are called different at any of some looks.

    `levels` has the level of each look by its number of seeds.
    """
    n = np.array(sorted(levels))
    x = np.random.default_rng(1).standard_normal((times, n[-1]))
    means = np.cumsum(x, axis=1)[:, n - 1] / n
    variances = (np.cumsum(x**2, axis=1)[:, n - 1] - n * means**2) / (n - 1)
    p = 2 * special.stdtr(n - 1, -np.abs(means) / np.sqrt(variances / n))
    return float((p < [levels[seeds] for seeds in n.tolist()]).any(axis=1).mean())


def count_alarms_one_by_one(times: int, last: int = 100) -> float:
    """Return the share of them that are called different at any n from 3 to `last`, without a plan."""
    return count_alarms({n: UNPLANNED_LEVEL / n for n in range(3, last + 1)}, times)


def list_levels_of_plans(plans: int, beyond: int) -> dict[int, float]:
    """Return the levels of a user who plans three seeds, looks at some seeds beyond the plan, and plans again.

    Args:
        plans: How often there is a plan; each is of half as many seeds more than there are.
        beyond: How many seeds are looked at, one by one, after each plan.
    """
    levels: dict[int, float] = {}
    steps, seeds = (3,), 3
    for number in range(plans):
        unplanned = number * beyond
        for extra in range(beyond + 1):
            levels[seeds + extra] = SeedPlan(steps, unplanned + extra).choose_level(seeds + extra) or 0.0
        seeds = (seeds + beyond) * 3 // 2
        steps = (*steps, seeds)
    return levels


def _print_table(title: str, rows: Iterable[tuple[str, Sequence[float]]], heads: Sequence[str]) -> None:
    print(f"\n{title}\n{'':26}" + "".join(f"{head:>12}" for head in heads))
    for name, cells in rows:
        print(f"{name:26}" + "".join(f"{100 * cell:11.1f}%" for cell in cells), flush=True)


CELLS = list(itertools.product(SEED_COUNTS, VARIANT_COUNTS))
POWER_CELLS = [(n, k) for n in (3, 5, 10) for k in VARIANT_COUNTS]
EFFECTS = list(itertools.product((0.003, 0.005, 0.01), (("equal", 0.0), ("unequal spreads", 0.4))))  # with the scatter


def _name_cells(cells: Iterable[tuple[int, int]]) -> list[str]:
    return [f"n {n}, {k}" for n, k in cells]


def print_audit(times: int) -> None:
    """Print all tables, with `times` experiments a cell."""
    print(f"{times} experiments a cell; standard error at 5 %: {100 * np.sqrt(0.0475 / times):.1f} points")
    for before in (True, False):
        _print_false_alarms(times, before)
    _print_loud_variants(times)
    _print_spread_coverages(times)
    for before in (True, False):
        _print_power(times, before)
    _print_best_powers()
    for before in (True, False):
        _print_false_equalities(times, before)
    _print_looks(times)
    title = "Folds (k x seeds, `cut` anew by each seed; variants): tables with an interval that misses the truth"
    _print_table(title, fold_audit.list_coverage_rows(times), fold_audit.name_designs())


def _print_false_alarms(times: int, before: bool) -> None:
    rule = "before" if before else f"after (planned, level {FIRST_LEVEL})"
    rows = (
        (name, [count_false_alarms(setting, n, k, times, before=before) for n, k in CELLS])
        for name, setting in SETTINGS.items()
        if not (before and setting.missing)
    )
    title = f"False alarms, {rule}: any variant called better or worse without effect"
    _print_table(title, rows, _name_cells(CELLS))


def _print_loud_variants(times: int) -> None:
    """Print false alarms if one variant's spread is far beyond that of the others, which the test does not assume."""
    cells = list(itertools.product((3, 4, 8), (2, 6, 14)))
    rows = (
        (f"x {loud:g}", [count_false_alarms(replace(CIFAR, loud=loud), n, k, times, before=False) for n, k in cells])
        for loud in (2.0, 3.0, 5.0, 10.0)
    )
    _print_table("False alarms if the own spread of one variant is larger", rows, _name_cells(cells))


def measure_spread_coverage(scatter: float, seeds: int, variants: int, times: int) -> float:
    """Return how often the 80 % interval that the needed seeds are planned with holds a variant's true spread.

    `scatter` is the standard deviation of the log spread of the variants; that of the baseline is 1.
    """
    rng = np.random.default_rng(2)
    held = []
    for _ in range(times):
        own = np.exp(scatter * rng.standard_normal(variants))
        differences = own * rng.standard_normal((seeds, variants)) - rng.standard_normal((seeds, 1))
        by_seed = [dict(enumerate(column)) for column in differences.T.tolist()]
        estimates = simultaneous.compare_with_baseline(by_seed, [stats.ALPHA] * variants)
        for estimate, spread in zip(estimates, np.sqrt(own**2 + 1), strict=True):
            assert estimate is not None
            low, high = stats.find_plausible_spreads(estimate.spread, estimate.degrees_of_freedom)
            held.append(low <= spread <= high)
    return statistics.fmean(held)


def _print_spread_coverages(times: int) -> None:
    cells = list(itertools.product((3, 5, 8), (2, 6, 14, 36)))
    rows = (
        (f"log sd {scatter:g}", [measure_spread_coverage(scatter, n, k, times // 10) for n, k in cells])
        for scatter in (0.0, simultaneous.SPREAD_SCATTER)
    )
    _print_table("The 80 % interval of a spread holds it", rows, _name_cells(cells))


def _print_power(times: int, before: bool) -> None:
    spread = 0.0025 / np.sqrt(2 * (1 - CIFAR.correlation))

    def measure_cells(scatter: float, effect: float) -> list[float]:
        setting = Setting(10_000, 0.85, spread, CIFAR.correlation, scatter)
        return [measure_power(setting, n, k, effect, times, before=before)[0] for n, k in POWER_CELLS]

    rows = ((f"+{100 * effect:g}, {name}", measure_cells(scatter, effect)) for effect, (name, scatter) in EFFECTS)
    title = f"Power, {'before' if before else 'after'}: the one effect is found, sd of differences 0.25 points"
    _print_table(title, rows, _name_cells(POWER_CELLS))


def _print_best_powers() -> None:
    """Print the power of tests that know more than any table says: what the power is to be compared with."""
    for measure, name in (
        (measure_price_of_likeness, "the same test, were it known that variants share nothing but the baseline"),
        (partial(measure_oracle_power, times=20_000), "an oracle that knows every spread"),
    ):
        rows = (
            (f"+{100 * effect:g}, {kind}", [measure(scatter, n, k, effect, 0.0025) for n, k in POWER_CELLS])
            for effect, (kind, scatter) in EFFECTS
        )
        _print_table(f"Power of {name}", rows, _name_cells(POWER_CELLS))


def _print_false_equalities(times: int, before: bool) -> None:
    def count_cells(sd: float) -> list[float]:
        setting = Setting(10_000, 0.85, sd / np.sqrt(1.4), 0.3)
        return [count_false_equalities(setting, n, k, times, before=before) for n, k in CELLS]

    rows = ((f"sd {100 * sd:.1f}", count_cells(sd)) for sd in (0.002, 0.003))
    title = f"False 'no difference', {'before' if before else 'after'}: all differ by the margin"
    _print_table(title, rows, _name_cells(CELLS))


def _print_looks(times: int) -> None:
    """Print how often looking at a table again and again ends in a false alarm."""
    starts = [(n, k) for n in (2, 3, 5) for k in (1, 5)]

    def follow_cells(sd: float, one_by_one: bool) -> list[float]:
        setting = Setting(10_000, 0.85, sd / np.sqrt(1.4), 0.3)
        return [follow_advice(setting, n, k, max(200, times // 4), one_by_one=one_by_one) for n, k in starts]

    rows = (
        (f"sd {100 * sd:.1f}, {'one by one' if one_by_one else 'by the advice'}", follow_cells(sd, one_by_one))
        for sd in (0.003, 0.006)
        for one_by_one in (True, False)
    )
    _print_table("Looking again, after: ends in better or worse without effect", rows, _name_cells(starts))
    print(f"\nEvery n from 3 to 100 looked at, one comparison: {100 * count_alarms_one_by_one(20_000):.1f}%")
    share = count_alarms(list_levels_of_plans(4, beyond=5), 200_000)
    print(f"Four plans, and five looks beyond each, one comparison: {100 * share:.1f}%")


if __name__ == "__main__":
    print_audit(200 if "--short" in sys.argv else 500 if "--quick" in sys.argv else 2000)
