"""Choosing among labelled images: some classes, some of each class, a validation part; seeded and stratified.

The order in which the images of a class are drawn depends on the seed and its name alone, so a smaller subset
lies within every larger one of the same seed.
"""

import torch
from torch import Tensor

from attncli.errors import UserError, unknown_name_error
from attncli.recipe import read_class_list
from attncli.seeds import derive_seed


def choose_classes(classes: tuple[str, ...], wanted: int | list[str] | str | None) -> list[int]:
    """Numbers of the wanted classes, in the dataset's order: all (None), the first k, by name, or those of a file.

    Raises UserError for an unknown name, more classes than there are, or fewer than two.
    """
    if wanted is None:
        return list(range(len(classes)))
    if isinstance(wanted, int):
        if wanted > len(classes):
            raise UserError(f"data.classes: {wanted}: the dataset has {len(classes)}", f"at most {len(classes)}")
        class_numbers = list(range(wanted))
    else:
        wanted = read_class_list(wanted) if isinstance(wanted, str) else wanted
        for name in wanted:
            if name not in classes:
                raise unknown_name_error("class", name, classes, location="data.classes")
        class_numbers = sorted({classes.index(name) for name in wanted})
    if len(class_numbers) < 2:
        raise UserError("data.classes: a classifier needs two classes or more", f"known: {', '.join(classes)}")
    return class_numbers


def select_class_rows(labels: Tensor, class_numbers: list[int]) -> tuple[Tensor, Tensor]:
    """Rows of the images of the chosen classes, and their labels counted anew from 0."""
    new_labels = torch.full((max(int(labels.max()), *class_numbers) + 1,), -1)
    new_labels[torch.tensor(class_numbers)] = torch.arange(len(class_numbers))
    rows = (new_labels[labels] >= 0).nonzero().flatten()
    return rows, new_labels[labels[rows]]


def draw_rows(labels: Tensor, quota: Tensor, seed: int, name: str) -> Tensor:
    """Rows of `quota[c]` images of each class c, in rising order; more than there are means all."""
    shuffled = torch.randperm(len(labels), generator=torch.Generator().manual_seed(derive_seed(seed, "subset", name)))
    by_class = shuffled[labels[shuffled].argsort(stable=True)]
    count = labels.bincount(minlength=len(quota))
    position = torch.arange(len(labels)) - (count.cumsum(0) - count)[labels[by_class]]  # within the class
    return by_class[position < quota[labels[by_class]]].sort().values


def allot_quota(count: Tensor, fraction: float, *, least: int, spare: int) -> Tensor:
    """How many of each class make up `fraction` of all, by largest remainder.

    Every class with enough images gives at least `smallest_class` and keeps at least `spare` for others.
    """
    exact = count.double() * fraction
    quota = exact.floor().long()
    missing_count = max(round(int(count.sum()) * fraction), 1) - int(quota.sum())
    largest_remainders = (quota - exact).argsort(stable=True)[: max(missing_count, 0)]  # the largest remainders
    quota[largest_remainders] += 1
    return quota.clamp_min(least).minimum((count - spare).clamp_min(0))


def choose_train_rows(
    labels: Tensor, classes: tuple[str, ...], fraction: float | None, per_class: int | None, seed: int
) -> Tensor:
    """Rows of the training images kept: of a fraction of them, a number of each class.

    Raises UserError where a class has fewer images than asked for.
    """
    quota = labels.bincount(minlength=len(classes))
    if fraction is not None:
        quota = allot_quota(quota, fraction, least=1, spare=0)
    if per_class is not None:
        smallest_class = int(quota.argmin())
        if quota[smallest_class] < per_class:
            name, count = classes[smallest_class], int(quota[smallest_class])
            problem = f"data.per_class: {per_class}: class '{name}' has {count} training images"
            raise UserError(problem, f"at most {int(quota[smallest_class])}, or leave the class out with data.classes")
        quota = torch.full_like(quota, per_class)
    return draw_rows(labels, quota, seed, "keep")


def cut_validation(labels: Tensor, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """(rows to train on, rows to validate on): disjoint, together all; each class keeps one image to train on."""
    is_val = torch.zeros(len(labels), dtype=torch.bool)
    if fraction > 0:
        is_val[draw_rows(labels, allot_quota(labels.bincount(), fraction, least=0, spare=1), seed, "val")] = True
    return (~is_val).nonzero().flatten(), is_val.nonzero().flatten()
