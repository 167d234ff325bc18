"""Choosing among labelled images: some classes, some of each class, a validation part; seeded and stratified.

The order in which the images of a class are drawn depends on the seed and its name alone, so a smaller subset
lies within every larger one of the same seed.
"""

import torch
from torch import Tensor

from attncli.errors import UserError, unknown
from attncli.recipe import class_list
from attncli.streams import stream


def choose_classes(classes: tuple[str, ...], wanted: int | list[str] | str | None) -> list[int]:
    """Numbers of the wanted classes, in the dataset's order: all (None), the first k, by name, or those of a file.

    Raises UserError for an unknown name, more classes than there are, or fewer than two.
    """
    if wanted is None:
        return list(range(len(classes)))
    if isinstance(wanted, int):
        if wanted > len(classes):
            raise UserError(f"data.classes: {wanted}: the dataset has {len(classes)}", f"at most {len(classes)}")
        chosen = list(range(wanted))
    else:
        wanted = class_list(wanted) if isinstance(wanted, str) else wanted
        for name in wanted:
            if name not in classes:
                raise unknown("class", name, classes, where="data.classes")
        chosen = sorted({classes.index(name) for name in wanted})
    if len(chosen) < 2:
        raise UserError("data.classes: a classifier needs two classes or more", f"known: {', '.join(classes)}")
    return chosen


def rows_of(labels: Tensor, chosen: list[int]) -> tuple[Tensor, Tensor]:
    """Rows of the images of the chosen classes, and their labels counted anew from 0."""
    new = torch.full((max(int(labels.max()), *chosen) + 1,), -1)
    new[torch.tensor(chosen)] = torch.arange(len(chosen))
    rows = (new[labels] >= 0).nonzero().flatten()
    return rows, new[labels[rows]]


def draw(labels: Tensor, quota: Tensor, seed: int, name: str) -> Tensor:
    """Rows of `quota[c]` images of each class c, in rising order; more than there are means all."""
    shuffled = torch.randperm(len(labels), generator=torch.Generator().manual_seed(stream(seed, "subset", name)))
    by_class = shuffled[labels[shuffled].argsort(stable=True)]
    count = labels.bincount(minlength=len(quota))
    place = torch.arange(len(labels)) - (count.cumsum(0) - count)[labels[by_class]]  # within the class
    return by_class[place < quota[labels[by_class]]].sort().values


def shares(count: Tensor, fraction: float, *, least: int, spare: int) -> Tensor:
    """How many of each class make up `fraction` of all, by largest remainder.

    Every class with enough images gives at least `least` and keeps at least `spare` for others.
    """
    exact = count.double() * fraction
    quota = exact.floor().long()
    missing = max(round(int(count.sum()) * fraction), 1) - int(quota.sum())
    first = (quota - exact).argsort(stable=True)[: max(missing, 0)]  # the largest remainders
    quota[first] += 1
    return quota.clamp_min(least).minimum((count - spare).clamp_min(0))


def keep(labels: Tensor, classes: tuple[str, ...], fraction: float | None, per_class: int | None, seed: int) -> Tensor:
    """Rows of the training images kept: of a fraction of them, a number of each class.

    Raises UserError where a class has fewer images than asked for.
    """
    quota = labels.bincount(minlength=len(classes))
    if fraction is not None:
        quota = shares(quota, fraction, least=1, spare=0)
    if per_class is not None:
        least = int(quota.argmin())
        if quota[least] < per_class:
            problem = f"data.per_class: {per_class}: class '{classes[least]}' has {int(quota[least])} training images"
            raise UserError(problem, f"at most {int(quota[least])}, or leave the class out with data.classes")
        quota = torch.full_like(quota, per_class)
    return draw(labels, quota, seed, "keep")


def cut(labels: Tensor, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """(rows to train on, rows to validate on): disjoint, together all; each class keeps one image to train on."""
    held = torch.zeros(len(labels), dtype=torch.bool)
    if fraction > 0:
        held[draw(labels, shares(labels.bincount(), fraction, least=0, spare=1), seed, "val")] = True
    return (~held).nonzero().flatten(), held.nonzero().flatten()
