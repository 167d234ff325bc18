"""Subsets: seeded, stratified, nested."""

import pytest
import torch

from attncli.data import subset
from attncli.data.class_choice import choose_classes
from attncli.errors import UserError

LABELS = torch.tensor([0] * 50 + [1] * 30 + [2] * 20)[torch.randperm(100, generator=torch.Generator().manual_seed(0))]
NAMES = ("cat", "dog", "owl")


def counts(rows: torch.Tensor) -> list[int]:
    """Images of each class among the rows."""
    return LABELS[rows].bincount(minlength=3).tolist()


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9, 1.0])
def test_fraction_keeps_the_shares_of_the_classes(fraction: float) -> None:
    """A fraction holds that share of every class."""
    assert counts(subset.choose_train_rows(LABELS, NAMES, fraction, None, 0)) == [
        round(c * fraction) for c in (50, 30, 20)
    ]


def test_shares_add_up() -> None:
    """The quotas of the classes add up to the rounded total, by largest remainder (11.5, 6.9, 4.6 -> 23)."""
    assert subset.allot_quota(torch.tensor([50, 30, 20]), 0.23, least=0, spare=0).tolist() == [11, 7, 5]


def test_a_tiny_fraction_keeps_one_of_each_class() -> None:
    """No class vanishes from the training images."""
    assert counts(subset.choose_train_rows(LABELS, NAMES, 0.001, None, 0)) == [1, 1, 1]


def test_per_class_keeps_that_many() -> None:
    """per_class images of every class, in the order of the dataset."""
    rows = subset.choose_train_rows(LABELS, NAMES, None, 7, 0)
    assert counts(rows) == [7, 7, 7]
    assert torch.equal(rows, rows.sort().values)


def test_more_per_class_than_there_are_is_refused() -> None:
    """The error names the smallest class and how many images it has."""
    with pytest.raises(UserError, match="per_class: 21: class 'owl' has 20 training images"):
        subset.choose_train_rows(LABELS, NAMES, None, 21, 0)


def test_smaller_subsets_lie_within_larger_ones() -> None:
    """Of one seed, 3 of each class are among the 9 of each, and 20 % among 60 %; another seed draws others."""
    few, many = (set(subset.choose_train_rows(LABELS, NAMES, None, k, 0).tolist()) for k in (3, 9))
    assert few < many
    low, high = (set(subset.choose_train_rows(LABELS, NAMES, f, None, 0).tolist()) for f in (0.2, 0.6))
    assert low < high
    assert set(subset.choose_train_rows(LABELS, NAMES, None, 9, 1).tolist()) != many


def test_validation_part_is_disjoint_stratified_and_seeded() -> None:
    """Both parts together are all, without overlap; a tenth of each class; another seed cuts elsewhere."""
    fit, held = subset.cut_validation(LABELS, 0.1, 0)
    assert torch.equal(torch.cat([fit, held]).sort().values, torch.arange(100))
    assert counts(held) == [5, 3, 2]
    assert torch.equal(held, subset.cut_validation(LABELS, 0.1, 0)[1])
    assert not torch.equal(held, subset.cut_validation(LABELS, 0.1, 1)[1])


def test_validation_leaves_each_class_an_image() -> None:
    """However much is held out, every class can be trained on."""
    fit, held = subset.cut_validation(torch.tensor([0, 0, 1]), 0.9, 0)
    assert len(held) == 1
    assert sorted(torch.tensor([0, 0, 1])[fit].tolist()) == [0, 1]


def test_no_validation_part() -> None:
    """A fraction of zero holds nothing out."""
    fit, held = subset.cut_validation(LABELS, 0.0, 0)
    assert len(held) == 0
    assert len(fit) == 100


def test_classes_by_number_and_by_name() -> None:
    """The first k, or by name in the dataset's order; labels are renumbered."""
    assert choose_classes(NAMES, None) == [0, 1, 2]
    assert choose_classes(NAMES, 2) == [0, 1]
    assert choose_classes(NAMES, ["owl", "cat"]) == [0, 2]
    rows, labels = subset.select_class_rows(LABELS, [0, 2])
    assert torch.equal(LABELS[rows], labels * 2)
    assert len(rows) == 70


@pytest.mark.parametrize(
    ("wanted", "problem", "hint"),
    [
        (["cat", "dogg"], "unknown class: 'dogg'", "did you mean 'dog'"),
        (4, "the dataset has 3", "at most 3"),
        (1, "at least two classes", "cat"),
        (["owl", "owl"], "at least two classes", "owl"),
    ],
)
def test_impossible_choices_of_classes(wanted: int | list[str], problem: str, hint: str) -> None:
    """Unknown names, too many and too few classes say so and what is there."""
    with pytest.raises(UserError) as caught:
        choose_classes(NAMES, wanted)
    assert problem in caught.value.problem
    assert hint in caught.value.hint
