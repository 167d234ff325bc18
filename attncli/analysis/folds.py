"""Differences over k folds: their training sets overlap, so that their mean is less certain than that of n seeds.

Two folds share (k - 2) / (k - 1) of their training images, and the usual t test takes their differences for
independent. Nadeau and Bengio (2003, doi:10.1023/A:1024068626366, Sec. 3) correct the variance of a mean of J
differences with the sample variance s^2 to

    (1 / J + n_test / n_train) s^2          n_test / n_train = 1 / (k - 1) for k folds

and t has J - 1 degrees of freedom, as Bouckaert and Frank (2004, doi:10.1007/978-3-540-24775-3_3) recommend for
cross-validation. More folds or seeds therefore never make the interval shorter than the second term allows.

If all seeds have the same cut, the seeds of one fold share its training and its test images: their mean is one
difference, and J = k. With data.subset_seed=run each seed is cut anew, and J is the number of pairs.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean

from attncli.recipe import Recipe


@dataclass(frozen=True)
class FoldDesign:
    """How the images of a variant's runs are cut: into `count` folds, for each seed anew or for all seeds alike."""

    count: int
    is_cut_by_seed: bool

    @property
    def overlap(self) -> float:
        """The test images of a fold per training image, validation images among them."""
        return 1 / (self.count - 1)

    def average_by_cut(self, values: Mapping[int, float]) -> dict[int, float]:
        """Return one value per cut from the values by pair number (`run_keys.number_pair`)."""
        if self.is_cut_by_seed:
            return dict(values)
        by_fold: dict[int, list[float]] = defaultdict(list)
        for number, value in values.items():
            by_fold[number % self.count].append(value)
        return {fold: fmean(of_fold) for fold, of_fold in sorted(by_fold.items())}

    def average_by_seed(self, values: Mapping[int, float]) -> dict[int, float]:
        """Return one value per seed, the mean of its folds; of the seeds that `keep_whole_seeds` keeps."""
        by_seed: dict[int, list[float]] = defaultdict(list)
        for number, value in sorted(self.keep_whole_seeds(values).items()):
            by_seed[number // self.count].append(value)
        return {seed: fmean(of_seed) for seed, of_seed in by_seed.items()}

    def keep_whole_seeds(self, values: Mapping[int, float]) -> dict[int, float]:
        """Return the values of the seeds of which every fold is there; all of them if there is no such seed."""
        folds = Counter(number // self.count for number in values)
        of_whole_seeds = {
            number: value for number, value in values.items() if folds[number // self.count] == self.count
        }
        return of_whole_seeds or dict(values)

    def count_whole_seeds(self, pairs: Iterable[int]) -> int:
        """Return the number of seeds of which every fold is among these pair numbers."""
        folds = Counter(number // self.count for number in pairs)
        return sum(count == self.count for count in folds.values())


def read_fold_design(recipe: Recipe) -> FoldDesign | None:
    """Return how a recipe cuts its images into folds, None if it does not."""
    folds = recipe.data.folds
    return None if folds is None else FoldDesign(folds, recipe.data.subset_seed == "run")


def name_pair(number: int, folds: int | None) -> str:
    """Return the name of a pair by its number (`run_keys.number_pair`): its seed, and of k folds its fold too."""
    return f"seed {number}" if folds is None else f"seed {number // folds} fold {number % folds}"
