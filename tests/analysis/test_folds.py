"""Means over folds: their variance is that of Nadeau and Bengio, and a seed counts with all of its folds."""

import math
import random
import statistics
from dataclasses import replace

import numpy as np
import pytest

from attncli.analysis import stats
from attncli.analysis.compare import compare_variants
from attncli.analysis.difference_verdict import VariantEvidence, word_verdict
from attncli.analysis.folds import FoldDesign
from attncli.analysis.looks import SeedPlan
from attncli.analysis.simultaneous import compare_with_baseline
from attncli.track.predictions import ImagePredictions
from tests.analysis.case import finished

GAINS = {0: 0.01, 1: 0.02, 2: 0.03, 3: 0.02, 4: 0.02}


def test_the_variance_is_corrected() -> None:
    """With 5 folds the interval is sqrt(1 / 5 + 1 / 4) s t, and the tests agree with it."""
    overlap, values = FoldDesign(5, False).overlap, list(GAINS.values())
    error = math.sqrt(1 / 5 + 1 / 4) * statistics.stdev(values)
    estimate = stats.estimate_mean(values, overlap=overlap)
    assert estimate.high - estimate.mean == pytest.approx(2.7764451 * error)
    (joint,) = compare_with_baseline([GAINS], [0.05], overlap)
    assert (joint.low, joint.high) == pytest.approx((estimate.low, estimate.high))
    assert joint.p == stats.t_test(values, overlap=overlap) > stats.t_test(values)
    for level in (0.9 * joint.p, 1.1 * joint.p):
        (judged,) = compare_with_baseline([GAINS], [level], overlap)
        assert (judged.low > 0) == (joint.p < level)
    assert stats.t_test([0.1] * 9, overlap=overlap) == 1  # equal values of folds are no nine proofs


def test_false_alarms_of_correlated_differences() -> None:
    """With the correlation 1 / k that the correction assumes, 5 % of the tests reject; without it 14 % do."""
    draws, k = random.Random(0), 5
    corrected, plain, tries = 0, 0, 4000
    for _ in range(tries):
        shared = draws.gauss(0, math.sqrt(1 / k))
        values = [shared + draws.gauss(0, math.sqrt(1 - 1 / k)) for _ in range(k)]
        corrected += stats.t_test(values, overlap=FoldDesign(k, False).overlap) < 0.05
        plain += stats.t_test(values) < 0.05
    assert 0.04 < corrected / tries < 0.06
    assert plain / tries > 0.12


def test_seeds_that_lack_a_fold_are_left_out() -> None:
    """Pair numbers are seed * folds + fold. If no seed is whole, there is nothing to prefer, and all stay."""
    values = {0: 0.1, 1: 0.2, 2: 0.3, 3: 0.4, 5: 0.6}  # of 3 folds: seed 0 is whole, seed 1 lacks fold 1
    design = FoldDesign(3, False)
    assert design.keep_whole_seeds(values) == {0: 0.1, 1: 0.2, 2: 0.3}
    assert design.keep_whole_seeds({3: 0.4, 5: 0.6}) == {3: 0.4, 5: 0.6}


def test_a_failed_fold_is_named_by_seed_and_fold() -> None:
    """Pair number 7 of 5 folds is fold 2 of seed 1."""
    plan = SeedPlan()
    evidence = VariantEvidence(
        pairs=9, finished=9, failed_seeds=(7,), plan=plan, estimate=None, family=1, seeds=1, folds=5
    )
    assert word_verdict(evidence, 0.005) == "not judged: 1 of 10 folds failed (seed 1 fold 2)"
    seeds = replace(evidence, folds=None, pairs=0, finished=0)
    assert word_verdict(seeds, 0.005) == "not judged: 1 of 1 seed failed (seed 7)"
    assert word_verdict(replace(seeds, failed_seeds=(0, 7)), 0.005) == "not judged: 2 of 2 seeds failed (seeds 0, 7)"


@pytest.mark.parametrize("subset_seed", [0, "run"])
def test_seeds_of_one_cut_are_one_difference(subset_seed: int | str) -> None:
    """Three seeds of the same cut prove no more than one; if each seed is cut anew, their pairs count."""
    runs = [
        finished(
            attn, seed, 0.8 + gain * (attn == "eca") + seed * 0.001, data=f"{fold}" * 64,
            data__folds=5, data__fold=fold, data__subset_seed=subset_seed,
        )
        for attn in ("none", "eca") for seed in range(3) for fold, gain in GAINS.items()
    ]  # fmt: skip
    one, all_three = (compare_variants([run for run in runs if run.recipe.seed < count])[1] for count in (1, 3))
    assert (one.difference.n, all_three.difference.n, one.folds) == (5, 15, 5)
    if subset_seed == "run":
        assert all_three.p < one.p
    else:
        assert all_three.p == pytest.approx(one.p)
        assert all_three.difference.high == pytest.approx(one.difference.high)
    unfinished = compare_variants(runs[:3] + runs[15:18])[1]
    assert unfinished.verdict == "no verdict yet: no seed has all of its 5 folds"
    assert unfinished.level is None


@pytest.mark.parametrize("sizes", [(4, 3, 3), (3, 3, 3)])
def test_folds_have_no_image_in_common(sizes: tuple[int, ...]) -> None:
    """Each is tested on images of its own, in numbers that may differ: no image has an effect over all of them."""
    runs = []
    for attn in ("none", "eca"):
        for fold, size in enumerate(sizes):
            labels = np.zeros(size, dtype=np.uint8)
            predicted = labels.copy()
            predicted[: fold + (attn == "none")] = 1
            run = finished(attn, 0, float((predicted == labels).mean()), data__folds=3, data__fold=fold)
            runs.append(replace(run, other_predictions=[ImagePredictions(predicted, labels)]))
    row = next(row for row in compare_variants(runs) if row.attn == "eca")
    assert row.difference is not None
    assert (row.difference.n, row.image_error, row.disagreement) == (3, None, None)


def test_seeds_of_folds_are_told_as_such() -> None:
    """Seeds 0 and 2 of three folds, one of which the variant lacks: for programs these are seeds, not pairs."""
    pairs = [(attn, seed, fold) for attn in ("none", "eca") for seed in (0, 2) for fold in range(3)]
    runs = [finished(attn, seed, 0.9, data__folds=3, data__fold=fold) for attn, seed, fold in pairs[:-1]]
    values = next(row for row in compare_variants(runs) if row.attn == "eca").to_json_dict()
    assert (values["n"], values["seeds"], values["missing_seeds"]) == (5, (0, 2), (2,))
