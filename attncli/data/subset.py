"""Choose among labelled images: some classes, some images of each class, a validation or test split.

Choices are seeded and stratified. The order in which the images of a class are drawn depends on the seed and the name
of the random stream only, so fewer images per class are contained in more of them with the same seed. (A larger share
of all may hold one image less of a class, as the shares of classes are rounded so that their sum fits.)
"""

import warnings
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from attncli.data.class_choice import choose_classes
from attncli.errors import UserError
from attncli.quantities import format_quantity
from attncli.recipe import Data
from attncli.seeds import derive_seed

TEST_SHARE, TEST_SEED = 0.2, 0
MOST_PARTS = 20  # into which groups are cut to come close to a share
Groups = Sequence[str] | None  # the group of each image, such as its patient; images of a group stay together


def select_class_rows(labels: Tensor, class_numbers: list[int]) -> tuple[Tensor, Tensor]:
    """Return the rows of the images of the chosen classes, and their labels renumbered from 0."""
    new_labels = torch.full((max(*class_numbers, *labels.unique().tolist()) + 1,), -1)
    new_labels[torch.tensor(class_numbers)] = torch.arange(len(class_numbers))
    rows = (new_labels[labels] >= 0).nonzero().flatten()
    return rows, new_labels[labels[rows]]


def draw_rows(labels: Tensor, quota: Tensor, seed: int, name: str) -> Tensor:
    """Return the rows of `quota[c]` images of each class c, in rising order; all if there are fewer."""
    shuffled = torch.randperm(len(labels), generator=torch.Generator().manual_seed(derive_seed(seed, "subset", name)))
    by_class = shuffled[labels[shuffled].argsort(stable=True)]
    count = labels.bincount(minlength=len(quota))
    position = torch.arange(len(labels)) - (count.cumsum(0) - count)[labels[by_class]]  # within the class
    return by_class[position < quota[labels[by_class]]].sort().values


def allot_quota(count: Tensor, fraction: float, *, least: int, spare: int) -> Tensor:
    """Return how many images of each class make up `fraction` of all, by the largest-remainder method.

    Args:
        count: number of images of each class, (classes,).
        fraction: share of all images to take.
        least: number to take from every class that has enough.
        spare: number that stays in every class.
    """
    exact = count.double() * fraction
    quota = exact.floor().long()
    missing_count = max(round(int(count.sum()) * fraction), 1) - int(quota.sum())
    largest_remainders = (quota - exact).argsort(stable=True)[: max(missing_count, 0)]
    quota[largest_remainders] += 1
    return quota.clamp_min(least).minimum((count - spare).clamp_min(0))


def choose_train_rows(
    labels: Tensor, classes: tuple[str, ...], fraction: float | None, per_class: int | None, seed: int
) -> Tensor:
    """Return the rows of the training images to keep: a fraction of all, or a number per class.

    Raises UserError if a class has fewer images than asked for.
    """
    quota = labels.bincount(minlength=len(classes))
    if fraction is not None:
        quota = allot_quota(quota, fraction, least=1, spare=0)
    if per_class is not None:
        smallest_class = int(quota.argmin())
        if quota[smallest_class] < per_class:
            name, count = classes[smallest_class], int(quota[smallest_class])
            problem = f"data.per_class: {per_class}: class '{name}' has {format_quantity(count, 'training image')}"
            raise UserError(problem, f"at most {count}, or leave the class out with data.classes")
        quota = torch.full_like(quota, per_class)
    return draw_rows(labels, quota, seed, "keep")


def choose_test_rows(labels: Tensor, class_count: int, per_class: int, seed: int) -> Tensor:
    """Return the rows of the test images to keep: at most a number per class, of a class with fewer all."""
    return draw_rows(labels, torch.full((class_count,), per_class), seed, "test")


def cut_validation(labels: Tensor, fraction: float, seed: int, groups: Groups = None) -> tuple[Tensor, Tensor]:
    """Return (rows to train on, rows to validate on): disjoint, together all; each class keeps one training image.

    With groups, whole groups are chosen, so that the share is about `fraction`. Raises UserError if they do not allow
    it.
    """
    if fraction == 0:
        return torch.arange(len(labels)), torch.empty(0, dtype=torch.int64)
    if groups is not None:
        return _cut_groups(labels, groups, fraction, derive_seed(seed, "subset", "val"))
    quota = allot_quota(labels.bincount(), fraction, least=0, spare=1)
    return _split_rows(labels, draw_rows(labels, quota, seed, "val"))


def cut_test(labels: Tensor, stream: str, groups: Groups = None) -> tuple[Tensor, Tensor]:
    """Return (rows to train on, rows to test on) of a dataset without a test split: one fifth of each class.

    The choice depends on the labels and the name of the random stream only. With groups, whole groups are chosen that
    make up about one fifth. Raises UserError if they do not allow it.
    """
    if groups is not None:
        return _cut_groups(labels, groups, TEST_SHARE, derive_seed(TEST_SEED, "subset", stream))
    quota = allot_quota(labels.bincount(), TEST_SHARE, least=1, spare=1)
    return _split_rows(labels, draw_rows(labels, quota, TEST_SEED, stream))


def resolve_seed(data: Data) -> int:
    """Return the seed of cuts and subsets. With data.subset_seed=run, the run has put its own seed there."""
    return 0 if isinstance(data.subset_seed, str) else data.subset_seed


def cut_test_or_fold(
    data: Data, labels: Tensor, classes: tuple[str, ...], groups: Groups = None
) -> tuple[Tensor, Tensor]:
    """Return (rows to train on, rows to test on): the fold of a recipe with data.folds, else as `cut_test`.

    Classes that the recipe leaves out are cut with the others. If that is impossible, their rows are on neither side.

    Args:
        data: the recipe's section.
        labels: the class of each image.
        classes: the names of all classes.
        groups: the group of each image, if there are groups.

    Raises:
        UserError: if the chosen classes or the groups do not allow the cut.
    """
    try:
        return _cut_all_classes(data, labels, groups)
    except UserError:
        if data.classes is None:
            raise
    rows = torch.isin(labels, torch.tensor(choose_classes(classes, data.classes))).nonzero().flatten()
    chosen_groups = None if groups is None else [groups[row] for row in rows.tolist()]
    train_rows, test_rows = _cut_all_classes(data, labels[rows], chosen_groups)
    return rows[train_rows], rows[test_rows]


def _cut_all_classes(data: Data, labels: Tensor, groups: Groups) -> tuple[Tensor, Tensor]:
    if data.folds is None:
        return cut_test(labels, "test", groups)
    return cut_fold(labels, data.fold, data.folds, resolve_seed(data), groups)


def cut_fold(labels: Tensor, fold: int, folds: int, seed: int, groups: Groups = None) -> tuple[Tensor, Tensor]:
    """Return (rows to train on, rows to test on) of one of `folds` parts; every image is in one of them.

    The parts have about the same share of each class, and whole groups if there are any. Raises UserError if a class or
    the groups are too few.
    """
    counts = labels.bincount()
    smallest = int(counts[counts > 0].min())
    if smallest < folds:
        most = f"at most data.folds={smallest}, or " if smallest > 1 else ""
        hint = f"{most}leave small classes out with data.classes"
        raise UserError(f"data.folds: {folds}: the smallest class has {format_quantity(smallest, 'image')}", hint)
    if groups is not None and (group_count := len(set(groups))) < folds:
        hint = f"at most data.folds={group_count}" if group_count > 1 else "groups stay together in every cut"
        raise UserError(f"data.folds: {folds}: only {format_quantity(group_count, 'group')}", hint)
    return _cut_stratified(labels, range(fold, fold + 1), folds, derive_seed(seed, "subset", "folds"), groups)


def _cut_groups(labels: Tensor, groups: Sequence[str], fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Return (other rows, rows of groups that make up about `fraction`), or the reverse if it is above one half.

    Several of some parts are taken if that comes closer than one: 2 of 5 for 0.4. If they hold all groups of a class,
    one part is taken nevertheless.
    """
    is_large = fraction > 0.5
    share = Fraction(1 - fraction if is_large else fraction)
    most = min(len(set(groups)), int(labels.bincount().max()))  # parts that scikit-learn makes
    one = Fraction(1, max(2, min(round(1 / share), most)))
    several = share.limit_denominator(max(2, min(MOST_PARTS, most)))
    closest = min(filter(None, (one, several)), key=lambda parts: abs(parts - share))
    try:
        rest, chosen = _cut_stratified(labels, range(closest.numerator), closest.denominator, seed, groups)
    except UserError:
        rest, chosen = _cut_stratified(labels, range(1), one.denominator, seed, groups)
    return (chosen, rest) if is_large else (rest, chosen)


def _cut_stratified(labels: Tensor, chosen: range, parts: int, seed: int, groups: Groups) -> tuple[Tensor, Tensor]:
    """Return (other rows, rows of the parts with the chosen numbers) by scikit-learn's stratified folds.

    If there are groups, they stay together. Raises UserError if the groups do not allow it.
    """
    y, state = labels.numpy(), seed % (1 << 32)
    cuts = islice(_iterate_cuts(y, parts, state, groups), chosen.start, chosen.stop)
    train_rows, test_rows = _split_rows(labels, torch.from_numpy(np.concatenate([test for _, test in cuts])))
    lost_classes = set(y.tolist()) - set(labels[train_rows].tolist())
    if lost_classes or not len(test_rows):
        problem = "data: the groups cannot be cut so that each class keeps training images"
        raise UserError(problem, "a class needs images of two groups at least; fewer folds may help")
    return train_rows, test_rows


def _iterate_cuts(
    labels: np.ndarray, parts: int, random_state: int, groups: Groups
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Return scikit-learn's cuts into (other rows, rows of a part), for each part."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    rows = np.arange(len(labels))
    if groups is None:
        return iter(StratifiedKFold(parts, shuffle=True, random_state=random_state).split(rows, labels))
    group_count = len(set(groups))
    if group_count < 2:
        raise UserError(
            f"data: {format_quantity(group_count, 'group')} cannot be cut into {parts} parts",
            "groups stay together in every cut",
        )
    splitter = StratifiedGroupKFold(min(parts, group_count), shuffle=True, random_state=random_state)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes that a part lacks: the caller checks them
        try:
            return iter(list(splitter.split(rows, labels, list(groups))))
        except ValueError as error:
            raise UserError(f"data: the groups cannot be cut: {error}", "take fewer folds") from error


def _split_rows(labels: Tensor, chosen_rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return (the other rows, the chosen rows), both in rising order."""
    is_chosen = torch.zeros(len(labels), dtype=torch.bool)
    is_chosen[chosen_rows] = True
    return (~is_chosen).nonzero().flatten(), is_chosen.nonzero().flatten()
