"""Cuts that keep groups together, k folds, and cuts that follow the run's seed."""

from pathlib import Path

import pytest
import torch

from attncli import data, validation
from attncli.data import subset
from attncli.data.dataset import Dataset
from attncli.errors import CollectedError, UserError
from attncli.recipe import Data
from tests.data.image_fixtures import noise, picture

GROUPS = [f"g{i // 4}" for i in range(80)]  # 20 groups of 4 images
LABELS = torch.tensor([(i // 2) % 2 for i in range(80)])  # two of each class in each group


def rows_of(cut: tuple[torch.Tensor, torch.Tensor]) -> tuple[list[int], list[int]]:
    """The rows of both sides."""
    return cut[0].tolist(), cut[1].tolist()


@pytest.mark.parametrize(
    ("fraction", "expected"),
    [(0.05, 4), (0.1, 8), (0.2, 16), (0.4, 32), (0.45, 36), (0.5, 40), (0.6, 48), (0.8, 64)],
)
def test_groups_stay_together_in_the_validation_cut(fraction: float, expected: int) -> None:
    """No group is on both sides, the share is right, and classes are stratified; another seed cuts elsewhere."""
    rest, chosen = rows_of(subset.cut_validation(LABELS, fraction, 0, GROUPS))
    assert sorted(rest + chosen) == list(range(80))
    assert not {GROUPS[i] for i in rest} & {GROUPS[i] for i in chosen}
    assert LABELS[chosen].bincount().tolist() == [expected // 2] * 2
    assert chosen != rows_of(subset.cut_validation(LABELS, fraction, 1, GROUPS))[1]


def test_several_parts_are_not_taken_if_a_class_is_lost() -> None:
    """The third class is in two groups, which some seeds put into the first two of five parts."""
    labels = LABELS.clone()
    labels[torch.tensor([0, 1, 2, 4, 5])] = 2
    for seed in range(10):
        rest, chosen = rows_of(subset.cut_validation(labels, 0.4, seed, GROUPS))
        assert sorted(rest + chosen) == list(range(80))
        assert 2 in labels[rest]


def test_a_share_below_that_of_an_image_of_each_class_is_as_small_as_possible() -> None:
    """A hundredth of 80 images in groups is a cut as any other: it takes one of as many parts as there may be."""
    groups = [str(row) for row in range(80)]
    assert len(subset.cut_validation(LABELS, 0.01, 0, groups)[1]) == 2


@pytest.mark.parametrize("groups", [None, GROUPS])
def test_folds_cover_every_image_once(groups: list[str] | None) -> None:
    """Each image is a test image in one fold; groups stay together; a class is spread over all folds."""
    folds = [rows_of(subset.cut_fold(LABELS, fold, 5, 0, groups)) for fold in range(5)]
    assert sorted(row for _, chosen in folds for row in chosen) == list(range(80))
    for rest, chosen in folds:
        assert LABELS[chosen].bincount().tolist() == [8, 8]
        if groups:
            assert not {groups[i] for i in rest} & {groups[i] for i in chosen}


def test_cuts_that_are_impossible() -> None:
    """One group, a class in one group only, and more folds than images of a class are refused."""
    with pytest.raises(UserError, match="1 group cannot be cut"):
        subset.cut_test(LABELS, "test", ["g"] * 80)
    with pytest.raises(UserError, match="each class keeps training images"):
        subset.cut_fold(torch.tensor([0, 0, 1, 1]), 0, 2, 0, ["a", "a", "b", "b"])
    for labels, folds, groups, problem, hint in (
        ([0, 0, 1, 1, 1], 3, None, "smallest class has 2 images", "at most data.folds=2, or leave small classes out"),
        ([0, 1, 1, 1], 2, None, "smallest class has 1 image$", "leave small classes out"),
        ([0, 0, 0, 1, 1, 1], 3, list("aabbab"), "only 2 groups", "at most data.folds=2"),
    ):
        with pytest.raises(UserError, match=problem) as caught:
            subset.cut_fold(torch.tensor(labels), 0, folds, 0, groups)
        assert caught.value.hint.startswith(hint)


def test_small_classes_that_are_left_out_do_not_prevent_a_cut() -> None:
    """A class of one image, which no cut suits, is of no account if the recipe leaves it out."""
    labels, classes = torch.tensor([0] * 6 + [1] * 6 + [2]), ("a", "b", "c")
    recipe = Data.model_validate({"classes": ["a", "b"], "folds": 3})
    for groups in (None, [*"uvwxyz"] * 2 + ["u"]):
        rest, chosen = rows_of(subset.cut_test_or_fold(recipe, labels, classes, groups))
        assert sorted(chosen + rest) == list(range(12))
        assert labels[chosen].bincount().tolist() == [2, 2]
        with pytest.raises(UserError, match=r"smallest class has 1 image$"):
            subset.cut_test_or_fold(recipe.model_copy(update={"classes": None}), labels, classes, groups)


def load(root: Path, **keys: object) -> Dataset:
    """The folder as a dataset."""
    recipe = Data.model_validate({"name": "folder", "root": str(root), "val_fraction": 0.0, **keys})
    return data.load(recipe, cache=root.parent / "cache" if root.is_dir() else root.parents[1] / "cache")


def find_seeds(dataset: Dataset) -> list[set[int]]:
    """The seeds of the images of the training and the test set."""
    seeds = {noise(seed).transpose(2, 0, 1).tobytes(): seed for seed in range(20)}
    return [{seeds[image.numpy().tobytes()] for image in split.images} for split in (dataset.train, dataset.test)]


@pytest.fixture
def patients(tmp_path: Path) -> Path:
    """Two classes of ten images; images 2 k and 2 k + 1 of a class are of one patient."""
    for seed in range(20):
        picture(tmp_path / "x" / "ab"[seed // 10] / f"patient{seed % 10 // 2}_{seed}.png", seed)
    return tmp_path / "x"


def test_groups_of_a_folder(patients: Path) -> None:
    """The pattern finds the patient in the path, and no patient is on both sides."""
    dataset = load(patients, group_pattern=r"patient(\d+)")
    train, test = ({seed % 10 // 2 for seed in seeds} for seeds in find_seeds(dataset))
    assert train | test == set(range(5))
    assert not train & test
    assert load(patients, group_pattern=r"patient\d+").digest == dataset.digest
    with pytest.raises(UserError, match=r"does not match a/patient0_0\.png"):
        load(patients, group_pattern="doctor")
    with pytest.raises(UserError, match=r"data\.group_pattern: \(: "):
        load(patients, group_pattern="(")


def test_groups_on_both_sides_of_given_splits_are_reported(patients: Path) -> None:
    """A cut that the dataset brings is kept, but said to share groups."""
    for split, first in (("train", 0), ("test", 4)):
        for number in range(first, first + 6):
            for label in "ab":
                picture(
                    patients.parent / f"y/{split}/{label}/patient{number}.png", 10 * first + 2 * number + (label == "b")
                )
    dataset = load(patients.parent / "y", group_pattern=r"patient(\d+)")
    assert any("2 of 6 groups of test are also in train" in warning for warning in dataset.warnings)


def test_groups_of_a_table(patients: Path) -> None:
    """data.group_column names the column of a list."""
    rows = [
        f"{'ab'[seed // 10]}/patient{seed % 10 // 2}_{seed}.png,{'ab'[seed // 10]},{seed % 10 // 2}"
        for seed in range(20)
    ]
    (patients / "list.csv").write_text("path,label,patient\n" + "\n".join(rows))
    dataset = load(patients / "list.csv", name="table", group_column="patient")
    assert find_seeds(dataset) == find_seeds(load(patients, group_pattern=r"patient(\d+)"))
    (patients / "list.csv").write_text("path,label,patient\n" + "\n".join([*rows[:-1], rows[-1][:-1]]))
    with pytest.raises(UserError, match="1 row without a group, the first is row 20"):
        load(patients / "list.csv", name="table", group_column="patient")
    with pytest.raises(UserError, match="unknown column: 'patients'"):
        load(patients / "list.csv", name="table", group_column="patients")
    with pytest.raises(UserError, match="'folder' has no use for it"):
        load(patients, group_column="patient")


def test_folds_of_a_folder(patients: Path) -> None:
    """The folds of a folder are its images, each once a test image; a test split of its own is then not used."""
    folds = [find_seeds(load(patients, folds=5, fold=fold)) for fold in range(5)]
    assert sorted(seed for _, test in folds for seed in test) == list(range(20))
    assert all(train | test == set(range(20)) for train, test in folds)
    for label in "ab":
        picture(patients.parent / f"y/test/{label}/9.png", 90 + (label == "b"))
    (patients.parent / "y/train").symlink_to(patients)
    assert find_seeds(load(patients.parent / "y", folds=5, fold=1)) == folds[1]
    digits = [data.load(Data(folds=3, fold=fold), cache=patients) for fold in range(3)]
    assert sum(len(dataset.test) for dataset in digits) == 1797


def test_keys_of_folds(tmp_path: Path) -> None:
    """A fold that does not exist is refused at once; runs of one group differ in seed and fold."""
    for values, text in ((["data.fold=1"], "no folds"), (["data.folds=5", "data.fold=5"], "no such fold")):
        with pytest.raises(CollectedError, match=text):
            validation.read(None, values)
    first, second = (validation.read(None, ["data.folds=5", f"data.fold={fold}"]) for fold in (0, 3))
    assert first.compute_group() == second.compute_group()
    assert first.compute_digest() != second.compute_digest()


def test_the_cut_follows_the_seed_on_request() -> None:
    """data.subset_seed=run stands for the run's seed; the group stays the same."""
    recipes = [validation.read(None, ["data.subset_seed=run", f"seed={seed}"]) for seed in (3, 4)]
    assert [recipe.resolve_data().subset_seed for recipe in recipes] == [3, 4]
    assert recipes[0].compute_group() == recipes[1].compute_group()
    fixed = validation.read(None, ["data.subset_seed=3"])
    assert fixed.resolve_data() == fixed.data == recipes[0].resolve_data()
