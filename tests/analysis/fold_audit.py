"""Simulated coverage of the intervals over folds and seeds together: `tests.analysis.audit` prints the table.

A run's accuracy has three sources beside the network's own: the images that test it, the images that train it, and the
seed. Each image has a value for how well each network gets it right, and one for how much training on it helps that
network. So folds that share training images, and cuts that share test images, are as alike as they are. The truth is
that of all images of the kind: no network differs from another.

The correction of Nadeau and Bengio (`attncli.analysis.folds`) assumes that two folds have the correlation 1 / k. Here
it is (k - 2) / (k - 1) times the share that the training images have in the variance of a difference. So it allows for
a share of 1 / k and a little more. The mean over the seeds of one cut has less of the seed's variance, and so more of
that share.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attncli.analysis import simultaneous
from attncli.analysis.folds import FoldDesign
from attncli.analysis.looks import FIRST_LEVEL

IMAGES = 1200
MEAN, SPREAD = 0.85, 0.01  # accuracy of a run, and standard deviation of a difference to the plain network


@dataclass(frozen=True)
class VarianceShares:
    """What the variance of a difference at one fold and seed consists of; the seed makes the rest."""

    test_images: float
    training_images: float

    @property
    def seed(self) -> float:
        """The share of everything else that a seed changes: the order of images, crops, the networks' own weights."""
        return 1 - self.test_images - self.training_images


SHARES = {
    "seed alone": VarianceShares(0.0, 0.0),
    "seed, test images": VarianceShares(0.5, 0.0),
    "a tenth training images": VarianceShares(0.4, 0.1),
    "a fifth training images": VarianceShares(0.4, 0.2),
    "half training images": VarianceShares(0.3, 0.5),
}
DESIGNS = [(k, seeds, by_seed) for by_seed in (False, True) for k, seeds in ((5, 1), (5, 3), (10, 3))]


def count_missed_tables(
    shares: VarianceShares, design: FoldDesign, seeds: int, variants: int, times: int, *, overlap: float | None = None
) -> float:
    """Return the share of tables in which an interval does not hold the true difference 0; the level is FIRST_LEVEL.

    Args:
        shares: What the differences consist of.
        design: The folds.
        seeds: How many, each with all folds.
        variants: How many are tested together.
        times: The number of tables.
        overlap: That the intervals allow for; by default that of the design.
    """
    rng = np.random.default_rng(1000 * design.count + 100 * seeds + variants)
    missed = 0
    for _ in range(times):
        accuracies = draw_fold_accuracies(shares, design, seeds, variants, rng)
        differences = (accuracies[:, 1:] - accuracies[:, :1]).T.tolist()  # by variant and pair
        tested = [design.average_by_cut(dict(enumerate(by_pair))) for by_pair in differences]
        estimates = simultaneous.compare_with_baseline(
            tested, [FIRST_LEVEL] * variants, design.overlap if overlap is None else overlap
        )
        missed += any(e is not None and e.low is not None and not e.low <= 0 <= e.high for e in estimates)
    return missed / times


def draw_fold_accuracies(
    shares: VarianceShares, design: FoldDesign, seeds: int, variants: int, rng: np.random.Generator
) -> np.ndarray:
    """Return accuracies (seeds k, 1 + variants) in whole images, pair number by pair number, the baseline first."""
    test_size, networks = IMAGES // design.count, 1 + variants
    scale = SPREAD / np.sqrt(2)  # of one network's run: a difference has two
    test_values = np.sqrt(shares.test_images * test_size) * scale * rng.standard_normal((IMAGES, networks))
    train_size = IMAGES - test_size
    train_values = np.sqrt(shares.training_images * train_size) * scale * rng.standard_normal((IMAGES, networks))
    noise = np.sqrt(shares.seed) * scale * rng.standard_normal((seeds, design.count, networks))
    order = rng.permutation(IMAGES)
    rows = []
    for seed in range(seeds):
        if design.is_cut_by_seed and seed:
            order = rng.permutation(IMAGES)
        test_sums = test_values[order].reshape(design.count, test_size, networks).sum(axis=1)
        train_sums = train_values[order].reshape(design.count, test_size, networks).sum(axis=1)
        trained = (train_values.sum(axis=0) - train_sums) / train_size
        rows.append(MEAN + test_sums / test_size + trained + noise[seed])
    counts: np.ndarray = np.rint(np.concatenate(rows) * test_size)
    return counts / test_size


def list_coverage_rows(times: int) -> list[tuple[str, list[float]]]:
    """Return the missed tables of every kind of differences and every design, for 1 and 5 variants."""
    return [
        (
            name,
            [
                count_missed_tables(shares, FoldDesign(k, by_seed), seeds, variants, times)
                for k, seeds, by_seed in DESIGNS
                for variants in (1, 5)
            ],
        )
        for name, shares in SHARES.items()
    ]


def name_designs() -> Sequence[str]:
    """Return the headings of `list_coverage_rows`: folds x seeds, `cut` if each seed is cut anew, and variants."""
    return [
        f"{k}x{seeds}{' cut' if by_seed else ''}, {variants}" for k, seeds, by_seed in DESIGNS for variants in (1, 5)
    ]
