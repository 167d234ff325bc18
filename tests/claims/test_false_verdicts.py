"""How often chance alone makes a claim hold: hundreds of experiments through the whole judgement, and the power."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from attncli.analysis import looks, stats
from attncli.analysis.count_cache import CountCache
from attncli.claims import claim_files, judge, seed_numbers
from attncli.claims.evidence import Evidence
from attncli.claims.throughput import SpeedStore
from attncli.runs import FinishedRun, RunStore, read_finished_runs
from attncli.system.median_interval import compute_median_interval
from tests.claims.case import claims_file, run

TIMES, SEEDS = 700, 5
ATTNS = ("none", "eca", "se", "cbam")
A, B, C, PLAIN = "top1(resnet20 + eca)", "top1(resnet20 + se)", "top1(resnet20 + cbam)", "top1(resnet20)"


def outcomes(folder, checks: list[str], gains: dict[str, float], times: int = TIMES) -> np.ndarray:
    """How each claim came out in so many experiments: networks that differ truly by `gains` and a seed's luck.

    Seeds scatter by 2 points, and by half a point more for each network.
    """
    known = claim_files.read_claim_files([claims_file(folder, *checks)])
    for attn, seed in itertools.product(ATTNS, range(SEEDS)):
        run(folder / "runs", attn=attn, seed=seed, top1=0.0)
    runs = read_finished_runs(RunStore(folder / "runs"))
    counts, speeds = CountCache(), SpeedStore(folder / "runs")
    chance = np.random.default_rng(5)
    luck = 0.02 * chance.standard_normal((times, SEEDS, 1)) + 0.005 * chance.standard_normal((times, SEEDS, len(ATTNS)))
    top1 = 0.9 + luck + np.array([gains.get(attn, 0.0) for attn in ATTNS])
    found = []
    for experiment in top1.tolist():
        seen = [_give_top1(r, experiment[r.recipe.seed][ATTNS.index(r.recipe.model.attn)]) for r in runs]
        found.append([v.outcome for v in judge.judge_claims(known, Evidence(counts, speeds, seen))])
    return np.array(found)


def _give_top1(run: FinishedRun, top1: float) -> FinishedRun:
    return replace(run, result=replace(run.result, test_top1=top1, planned_seeds=SEEDS))


def share(found: np.ndarray, outcome: str) -> float:
    """The share of experiments in which any claim came out so."""
    return float((found == outcome).any(axis=1).mean())


@pytest.fixture(autouse=True)
def _quickly(monkeypatch):
    """Leave out the planning of further seeds, which takes long and changes no verdict."""
    monkeypatch.setattr(seed_numbers, "plan_seeds", lambda part, tests: (9, 9))
    monkeypatch.setattr(judge.accuracy, "compute_power", lambda difference, plan, forgiving: None)


@pytest.mark.parametrize(
    ("checks", "gains"),
    [
        ([f"{A} > {PLAIN}"], {}),
        ([f"{A} - {PLAIN} > 1 %"], {"eca": 0.01}),
        ([f"{A} > {PLAIN} - 0.5 %"], {"eca": -0.005}),
        ([f"{A} ~ {PLAIN} +- 0.5 %"], {"eca": 0.005}),
        ([f"{A} > {PLAIN} and {A} > {B}"], {}),
        ([f"{A} > {PLAIN}", f"{B} > {PLAIN}", f"{C} > {PLAIN} - 0.5 %", f"{A} < {B}"], {"cbam": -0.005}),
    ],
    ids=["better", "better by", "no worse", "equal", "both", "a table"],
)
def test_at_most_five_in_a_hundred_false_claims_hold(tmp_path, checks, gains):
    """Claims that are just false hold by chance in at most 5 % of the experiments (of a table: any of them).

    The bound has three standard errors added, for the tests one-sided are meant to reach 5 %.
    """
    assert share(outcomes(tmp_path, checks, gains), "holds") <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / TIMES)


def test_at_most_five_in_a_hundred_true_claims_fail(tmp_path):
    """The same the other way round."""
    checks = [f"{A} > {PLAIN} - 0.5 %", f"{A} ~ {B} +- 0.5 %", f"{PLAIN} > {A} > {B} - 1 %"]
    found = outcomes(tmp_path, checks, {"eca": -0.005, "se": 0.0})
    assert share(found, "fails") <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / TIMES)


def test_power_is_as_foretold(tmp_path):
    """True claims hold as often as `compute_power` says, which is what a reader is told."""
    found = outcomes(tmp_path, [f"{A} > {PLAIN}"], {"eca": 0.01}, times=1000)
    foretold = stats.t_test_power(SEEDS, 0.005 * np.sqrt(2), 0.01, alpha=looks.FIRST_LEVEL)
    difference = stats.MeanEstimate(n=SEEDS, mean=0.0, sd=0.005 * np.sqrt(2) / 2, low=None, high=None)
    assert seed_numbers.compute_power(difference, looks.SeedPlan((SEEDS,)), False) == pytest.approx(
        foretold
    )  # of half as much
    assert 0.5 < foretold < 0.9
    assert share(found, "holds") == pytest.approx(foretold, abs=0.05)


def test_median_intervals_cover():
    """The interval of a median of nine rounds holds the true one in 95 % of the trials or more, however skewed."""
    chance = np.random.default_rng(6)
    rounds = chance.lognormal(0.0, 1.0, (TIMES, 9))
    found = [compute_median_interval(row) for row in rounds.tolist()]
    assert np.mean([low <= 1.0 <= high for _, low, high in found]) >= 0.95
    assert all(low <= middle <= high for middle, low, high in found)


def test_median_interval_by_hand():
    """Of nine values the second and the eighth: 2 (1 + 9) / 512 = 3.9 % are left out. Five values have no interval."""
    assert compute_median_interval([9, 1, 2, 8, 3, 7, 4, 6, 5]) == (5, 2, 8)
    assert compute_median_interval([3, 1, 2, 6, 5, 4]) == (3.5, 1, 6)
    assert compute_median_interval([1, 2, 3, 4, 5])[1:] == (-np.inf, np.inf)


def test_median_interval_as_scipy_has_it():
    """The interval agrees with that of scipy.stats.quantile_test."""
    from scipy import stats as theirs

    for n in range(6, 30):
        values = np.random.default_rng(n).normal(0.3, 1.0, n).tolist()
        interval = theirs.quantile_test(values, p=0.5).confidence_interval(0.95)
        assert compute_median_interval(values)[1:] == pytest.approx((interval.low, interval.high))
