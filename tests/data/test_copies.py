"""Copies between splits, pictures with two labels, and images that look alike: reported with counts and an example."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from attncli import data
from attncli.data.dataset import Dataset
from attncli.data.images.look_alikes import find_look_alikes, sketch_image
from attncli.data.loader import count_left_over
from tests.data.image_fixtures import folder, noise, of_folder
from tests.data.test_verify import verify


def load(root: Path, **keys: object) -> Dataset:
    """Load the folder."""
    return data.load(of_folder(root, **keys), cache=root.parent / "cache")


def test_an_intact_folder_has_no_warning(tmp_path: Path) -> None:
    """Every picture once: nothing to say."""
    dataset = load(folder(tmp_path / "x"), val_fraction=0.0)
    assert dataset.warnings == dataset.notes == ()


def test_classes_that_no_image_validates_are_noted(tmp_path: Path) -> None:
    """A tenth of twelve images is one image, of one of three classes; a quarter has all of them."""
    root = folder(tmp_path / "x")
    assert load(root).notes == ("classes without validation images: 2 of 3, such as 'dog'",)
    assert load(root, val_fraction=0.25).notes == ()


@pytest.mark.parametrize("keys", [{}, {"crop": "resized", "image_size": 8}])
def test_a_copied_test_set_is_reported(tmp_path: Path, keys: dict[str, object]) -> None:
    """Each test image that is trained on counts, also from the cache; in `verify` it is a problem."""
    root = folder(tmp_path / "x")
    shutil.rmtree(root / "test")
    shutil.copytree(root / "train", root / "test")
    (root / "test/owl/3.png").unlink()
    for _ in range(2):
        [warning] = load(root, val_fraction=0.0, **keys).warnings
        assert warning.startswith("test images that are also train images: 11 of 11,")
        assert "train/cat/0.png = test/cat/0.png" in warning
    report = verify("folder", root)
    assert [
        problem
        for problem in report.problems
        if problem.startswith("test images that are also train images: 11 of 11,")
    ]


def test_validation_images_that_are_copies(tmp_path: Path) -> None:
    """Copies within train/ are no warning until one of them is held out."""
    root = folder(tmp_path / "x")
    for path in list((root / "train").rglob("*.png")):
        shutil.copy(path, path.with_name(f"copy of {path.name}"))
    assert load(root, val_fraction=0.0).warnings == ()
    assert any("val images that are also train images" in warning for warning in load(root, val_fraction=0.5).warnings)


def test_one_picture_under_two_labels(tmp_path: Path) -> None:
    """It is counted once however often it occurs; an intact copy under one label is none."""
    root = folder(tmp_path / "x")
    for name in ("dog/twin.png", "owl/twin.png", "cat/twin.png"):
        shutil.copy(root / "train/cat/1.png", root / "train" / name)
    [warning] = load(root, val_fraction=0.0).warnings
    assert warning.startswith("pictures with two labels: 1,")
    assert "train/cat/1.png (cat) = train/dog/twin.png (dog)" in warning
    assert [
        problem for problem in verify("folder", root).problems if problem.startswith("pictures with two labels: 1,")
    ]


def test_the_same_pixels_in_another_file(tmp_path: Path) -> None:
    """`verify` compares pixels: a PNG that was saved as BMP is the same picture."""
    root = folder(tmp_path / "x")
    Image.open(root / "train/dog/2.png").save(root / "test/dog/2.bmp")
    [problem] = verify("folder", root).problems
    assert "train/dog/2.png = test/dog/2.bmp" in problem


def test_images_of_one_colour(tmp_path: Path) -> None:
    """They are counted and one is named; two of the same colour are copies."""
    root = folder(tmp_path / "x")
    Image.new("RGB", (8, 8), (9, 9, 9)).save(root / "train/cat/9.png")
    [warning] = load(root, val_fraction=0.0).warnings
    assert warning.startswith("images of one colour: 1,")
    assert "train/cat/9.png" in warning


def draw_scene(seed: int, side: int = 64) -> Image.Image:
    """A picture with large forms, as photographs have."""
    return (
        Image.fromarray(noise(seed, (side, side)))
        .filter(ImageFilter.GaussianBlur(side / 12))
        .point(lambda value: max(0, min(255, 6 * (value - 127) + 127)))
    )


def test_copies_that_were_saved_again_look_alike(tmp_path: Path) -> None:
    """A JPEG of low quality and a smaller copy are found in another split, and no other picture is."""
    root = tmp_path / "x"
    for seed in range(40):
        path = root / ("train", "test")[seed % 2] / ("cat", "dog")[seed // 2 % 2] / f"{seed}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_scene(seed).save(path)
    assert verify("folder", root).remarks == []
    draw_scene(0).save(root / "test/cat/again.jpg", quality=50)
    draw_scene(2).resize((48, 48)).save(root / "test/cat/small.png")
    report = verify("folder", root)
    assert report.problems == []
    two_splits, two_labels = report.remarks
    assert "are in two splits: 2," in two_splits
    assert "have two labels: 1," in two_labels
    assert "train/cat/0.png (cat) and test/cat/again.jpg (cat)" in two_splits


def test_different_pictures_do_not_look_alike() -> None:
    """Of 300 small pictures of the same kind no two are taken for copies; an equal one is."""
    sketches = [sketch_image(np.asarray(draw_scene(seed, 24))) for seed in range(300)]
    assert find_look_alikes(sketches) == []
    assert find_look_alikes([*sketches, sketches[5]]) == [(5, 300)]


def test_classes_by_number_are_named(tmp_path: Path) -> None:
    """The first two of three classes, by name; all of them need no word."""
    root = folder(tmp_path / "x")
    first = load(root, classes=2, val_fraction=0.0)
    assert first.notes == ("the first 2 of 3 classes, in the dataset's order: 'cat', 'dog'",)
    assert load(root, classes=3, val_fraction=0.0).notes == ()
    assert load(root, classes=["cat", "dog"], val_fraction=0.0).notes == ()


def test_images_that_fill_no_batch(tmp_path: Path) -> None:
    """What the last short batch would hold; a split that is smaller than one batch loses nothing."""
    train = load(folder(tmp_path / "x"), val_fraction=0.0).train
    assert [count_left_over(train, size) for size in (4, 5, 12, 100)] == [0, 2, 0, 0]
