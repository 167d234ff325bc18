"""Loading a dataset by its recipe: parts, subsets, facts, digest."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from attncli import data
from attncli.data.dataset import Dataset, Split
from attncli.data.images.arrays import make_image_array
from attncli.data.readers import in_memory
from attncli.errors import UserError
from attncli.recipe import Data


def load(tmp_path: Path, **keys: object) -> Dataset:
    """The dataset of a recipe with these keys."""
    return data.load(Data.model_validate(keys), cache=tmp_path / "cache")


def pictures(split: Split) -> set[bytes]:
    """The different images of a split."""
    return {image.numpy().tobytes() for image in split.images}


def test_digits(tmp_path: Path) -> None:
    """1,797 digits: the last 382 to test on, a tenth of the rest to validate on; three equal planes, 0 to 255."""
    digits = load(tmp_path)
    assert digits.val is not None
    assert [len(s) for s in (digits.train, digits.val, digits.test)] == [1273, 142, 382]
    assert digits.classes == tuple("0123456789")
    assert digits.size == (8, 8)
    assert digits.frames is None
    assert (digits.pad, digits.flip) == (1, False)
    images = digits.train.images
    assert images.shape == (1273, 3, 8, 8)
    assert images.dtype is torch.uint8
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert (images[:, 0] == images[:, 2]).all()
    assert set(images.unique().tolist()) <= {round(v * 255 / 16) for v in range(17)}
    per_class = digits.test.labels.bincount()
    assert per_class.tolist() == [38, 39, 37, 39, 39, 39, 39, 38, 35, 39]


def test_digits_come_without_importing_scikit_learn(tmp_path: Path, monkeypatch) -> None:
    """Its file is read directly; if it cannot be found, importing scikit-learn gives the same images."""
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "sklearn.datasets", None)  # an import of it would fail
        read = load(tmp_path).digest
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert load(tmp_path).digest == read


def test_digits_are_scikit_learns(tmp_path: Path) -> None:
    """Every image of scikit-learn's bundle is in exactly one part, with its label."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    digits = load(tmp_path)
    assert digits.val is not None
    splits = (digits.train, digits.val, digits.test)
    ours = sorted(
        (image[0].numpy().tobytes(), int(label))
        for s in splits
        for image, label in zip(s.images, s.labels, strict=True)
    )
    theirs = torch.from_numpy(bunch.images * (255 / 16)).round().to(torch.uint8)
    assert ours == sorted((i.numpy().tobytes(), int(y)) for i, y in zip(theirs, bunch.target, strict=True))


def test_mean_and_deviation_are_those_of_the_training_images(tmp_path: Path) -> None:
    """No validation or test image enters them."""
    digits = load(tmp_path)
    x = digits.train.images.double() / 255
    mean, std = torch.tensor([digits.mean, digits.std], dtype=torch.float64)
    torch.testing.assert_close(mean, x.mean((0, 2, 3)), rtol=1e-9, atol=0)
    torch.testing.assert_close(std, x.std((0, 2, 3), correction=0), rtol=1e-9, atol=0)


def test_pixels_of_clips_and_odd_sizes() -> None:
    """Mean and deviation are each plane's, whatever the number of images, frames and rows."""
    values = torch.randint(0, 256, (3, 2, 5, 7, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    array = make_image_array(values)
    x = values.double().view(-1, 3) / 255
    mean, std = torch.tensor([array.mean, array.std], dtype=torch.float64)
    torch.testing.assert_close(mean, x.mean(0), rtol=1e-9, atol=0)
    torch.testing.assert_close(std, x.std(0, correction=0), rtol=1e-9, atol=0)


@pytest.mark.parametrize("keys", [{"fraction": 0.2}, {"per_class": 5}, {"val_fraction": 0.4}, {"subset_seed": 3}])
def test_the_test_images_are_never_touched(tmp_path: Path, keys: dict[str, object]) -> None:
    """Neither subsets of the training images nor the validation cut change the test set."""
    whole, part = load(tmp_path).test, load(tmp_path, **keys).test
    assert torch.equal(whole.images, part.images)
    assert torch.equal(whole.labels, part.labels)


def test_classes_are_chosen_in_every_part(tmp_path: Path) -> None:
    """With two classes, all splits contain only these, labelled 0 and 1."""
    whole, part = load(tmp_path), load(tmp_path, classes=["7", "3"])
    assert part.classes == ("3", "7")
    assert part.val is not None
    for split in (part.train, part.val, part.test):
        assert set(split.labels.tolist()) == {0, 1}
    assert pictures(part.test) == pictures(
        Split(whole.test.images[(whole.test.labels == 3) | (whole.test.labels == 7)], part.test.labels)
    )


def test_parts_have_no_image_in_common(tmp_path: Path) -> None:
    """Train, validation and test are disjoint (no two of the digits are equal)."""
    digits = load(tmp_path)
    assert digits.val is not None
    a, b, c = pictures(digits.train), pictures(digits.val), pictures(digits.test)
    assert not a & b
    assert not a & c
    assert not b & c


def test_kept_images_feed_training_and_validation(tmp_path: Path) -> None:
    """fraction and per_class count the images that training and validation share."""
    part = load(tmp_path, per_class=20, val_fraction=0.25)
    assert part.val is not None
    assert part.train.labels.bincount().tolist() == [15] * 10
    assert part.val.labels.bincount().tolist() == [5] * 10


def test_fewer_test_images(tmp_path: Path) -> None:
    """test_per_class keeps at most that many of each class, of the same test images; training does not change."""
    whole, part = load(tmp_path), load(tmp_path, test_per_class=36)
    assert part.test.labels.bincount().tolist() == [36] * 8 + [35, 36]
    assert pictures(part.test) < pictures(whole.test)
    assert torch.equal(part.train.images, whole.train.images)
    assert part.digest != whole.digest


def test_without_validation(tmp_path: Path) -> None:
    """val_fraction 0 leaves no validation part."""
    assert load(tmp_path, val_fraction=0.0).val is None


def test_resizing(tmp_path: Path) -> None:
    """image_size sets the side; a constant image stays constant, and the pad grows along."""
    digits = load(tmp_path, image_size=32)
    assert digits.size == (32, 32)
    assert digits.pad == 4
    assert digits.train.images.shape[2:] == (32, 32)
    small = load(tmp_path).train.images.float()
    large = torch.nn.functional.interpolate(small, (32, 32), mode="bilinear", antialias=True)
    assert (digits.train.images.float() - large).abs().max() <= 0.5


def test_images_are_resized_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few at a time, so that large images need little memory; the parts change no pixel."""
    images = torch.randint(0, 256, (7, 9, 9, 3), dtype=torch.uint8)
    expected = in_memory.resize_images(images, (16, 12))
    monkeypatch.setattr(in_memory, "CHUNK_VALUES", 2 * 16 * 12 * 3)
    assert torch.equal(in_memory.resize_images(images, (16, 12)), expected)


def test_augmentation_of_the_recipe_wins(tmp_path: Path) -> None:
    """pad and flip of the recipe replace the dataset's own."""
    digits = load(tmp_path, pad=0, flip=True)
    assert (digits.pad, digits.flip) == (0, True)


def test_digest_follows_the_content(tmp_path: Path) -> None:
    """The same content has the same digest; other images, labels or classes another; augmentation is no content."""
    first = load(tmp_path).digest
    assert len(first) == 64
    assert load(tmp_path, pad=0, flip=True).digest == first
    keys: list[dict[str, object]] = [
        {"classes": 9},
        {"fraction": 0.5},
        {"image_size": 9},
        {"subset_seed": 1},
        {"val_fraction": 0.0},
    ]
    others = {load(tmp_path, **k).digest for k in keys}
    assert len(others | {first}) == len(keys) + 1


def test_moving_to_where_it_is_changes_nothing(tmp_path: Path) -> None:
    """On the CPU, `to` gives the dataset itself."""
    digits = load(tmp_path)
    assert digits.to(torch.device("cpu")) is digits


@pytest.mark.parametrize(
    ("keys", "problem", "hint"),
    [
        ({"name": "cifra10"}, "data.name: unknown dataset: 'cifra10'", "did you mean 'cifar10'"),
        ({"of": "mnist"}, "'digits' is not made of another", "leave data.of out"),
        ({"name": "clips", "of": "digit"}, "data.of: unknown dataset: 'digit'", "did you mean 'digits'"),
        ({"name": "clips", "of": "clips"}, "cannot be made of 'clips'", "cifar10"),
        ({"name": "cluttered", "of": "cifar10"}, "cannot be made of 'cifar10'", "mnist"),
        ({"name": "cluttered", "image_size": 5}, "5: smaller than the images (8)", "at least 8"),
        ({"per_class": 500}, "training images", "at most"),
        ({"image_size": 10**9}, "GB of memory", "--image-size"),
        ({"name": "cluttered", "image_size": 10**20}, "GB of memory", "--image-size"),
        ({"name": "clips", "frames": 10**9}, "GB of memory", "--image-size"),
    ],
)
def test_what_cannot_be_loaded_says_why(tmp_path: Path, keys: dict[str, object], problem: str, hint: str) -> None:
    """Unknown names and impossible wishes name the key and what to do."""
    with pytest.raises(UserError) as caught:
        load(tmp_path, **keys)
    assert problem in caught.value.problem
    assert hint in caught.value.hint


def test_names_are_told_without_torch() -> None:
    """The list of datasets, each with a line about it, loads neither torch nor numpy."""
    code = (
        "import sys; from attncli import data\n"
        "assert {'digits', 'folder', 'cifar10', 'fashion-mnist', 'clips', 'cluttered'} <= data.DATASETS.keys()\n"
        "assert all(len(line) > 20 and '\"' not in line for line in data.DATASETS.values())\n"
        "heavy = {'torch', 'numpy', 'sklearn', 'PIL'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_default_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """$ATTNCLI_DATA, else below the home."""
    monkeypatch.setenv("ATTNCLI_DATA", str(tmp_path))
    assert data.find_default_root() == tmp_path
    monkeypatch.delenv("ATTNCLI_DATA")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data.find_default_root() == tmp_path / ".cache/attncli/data"
