"""What is told of images before they are read: there only if loading takes them, refused with loading's own words."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from attncli import data
from attncli.data.datasets import imagenette
from attncli.data.registry import find_missing_root
from attncli.errors import UserError
from attncli.recipe import Data
from tests.data.image_fixtures import CLASSES, folder, of_folder, picture


def refuse_alike(recipe: Data, place: Path) -> UserError:
    """Return the error that loading ends in, after the check that `describe_images` ends in the same."""
    with pytest.raises(UserError) as told:
        data.describe_images(recipe)
    with pytest.raises(UserError) as loaded:
        data.load(recipe, cache=place / "cache")
    assert (told.value.problem, told.value.hint) == (loaded.value.problem, loaded.value.hint)
    return told.value


def empty(place: Path) -> None:
    """Remove the files of a folder."""
    for path in place.iterdir():
        path.unlink()


def spoil(place: Path) -> None:
    """Make texts of the images of a folder."""
    for path in place.rglob("*.png"):
        path.write_text("no image")


@pytest.mark.parametrize(
    ("change", "keys", "problem"),
    [
        (lambda r: shutil.rmtree(r / "train"), {}, "no folder train/"),
        (lambda r: [shutil.rmtree(r / "train" / c) for c in CLASSES[1:]], {}, "one folder only ('cat')"),
        (lambda r: [shutil.rmtree(r / "test" / c) for c in CLASSES[1:]], {}, "one folder only ('cat')"),
        (lambda r: empty(r / "train/dog"), {}, "train: no files in 'dog'"),
        (lambda r: empty(r / "test/dog"), {}, "test: no files in 'dog'"),
        (lambda r: (r / "test/owl").rename(r / "test/bat"), {}, "'owl' in train/ but not in test/"),
        (lambda r: picture(r / "train/0.png", 0), {}, "a file outside"),
        (lambda r: spoil(r / "train"), {}, "none of the files is an image"),
        (lambda r: spoil(r / "train"), {"image_size": 8}, "cannot be read as images"),
        (lambda r: spoil(r / "test/dog"), {}, "4 of 12 files cannot be read"),
        (lambda r: picture(r / "train/dog/0.png", 0, (9, 8)), {}, "images differ in size"),
        (lambda r: None, {"crop": "resized"}, "resized crops need a size"),
        (lambda r: None, {"per_class": 9}, "class 'cat' has 4 training images"),
        (lambda r: None, {"classes": ["cat", "cow"]}, "unknown class"),
        (lambda r: None, {"folds": 9}, "the smallest class has 4 images"),
        (lambda r: None, {"group_pattern": "(no such)"}, "group_pattern"),
    ],
)
def test_a_refused_folder(tmp_path: Path, change: Callable[[Path], object], keys: dict[str, Any], problem: str) -> None:
    """Whatever loading refuses by the layout, the splits or the first file of a class is not said to be there."""
    root = folder(tmp_path / "x")
    change(root)
    assert problem in refuse_alike(of_folder(root, val_fraction=0.0, **keys), tmp_path).problem


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ("path,label\n0.png,a\n1.png,a\n", "at least two classes"),
        ("path,label\n0.png,a\n8.png,b\n9.png,b\n", "9.png"),
        ("path\n0.png\n1.png\n", "no column of labels"),
        ("path,label,split\n0.png,a,test\n1.png,b,test\n", "no images of the split train"),
        ("path,label,split\n0.png,a,train\n1.png,b,test\n", "no images of 'b' in the split train"),
    ],
)
def test_a_refused_table(tmp_path: Path, rows: str, problem: str) -> None:
    """Paths that do not exist, one class only, no labels, no training images."""
    for seed in range(2):
        picture(tmp_path / f"x/{seed}.png", seed)
    (tmp_path / "x/all.csv").write_text(rows)
    assert problem in refuse_alike(Data(name="table", root=str(tmp_path / "x/all.csv")), tmp_path).problem


def test_a_refused_copy_of_a_published_dataset(tmp_path: Path) -> None:
    """ImageNet without val/ or with an empty class; ten other classes than Imagenette's."""
    root = folder(tmp_path / "x", ("train",))
    recipe = of_folder(root).model_copy(update={"name": "imagenet"})
    assert "no folder val/" in refuse_alike(recipe, tmp_path).problem
    (root / "train/bat").mkdir()
    assert "no files in 'bat'" in refuse_alike(recipe, tmp_path).problem
    (root / "train").rename(root / "trian")
    assert "no folder train/" in refuse_alike(recipe, tmp_path).problem
    other = folder(tmp_path / "y", ("train", "val"))
    assert (
        "not the ten classes"
        in refuse_alike(of_folder(other).model_copy(update={"name": "imagenette"}), tmp_path).problem
    )


def test_what_is_there_is_counted_as_loading_counts_it(tmp_path: Path) -> None:
    """After classes, subsets and cuts; nothing is written, and one bad file that is to be skipped does not matter."""
    root = folder(tmp_path / "x", ("train",), each=10)
    spoil(root / "train/owl")
    before = sorted(tmp_path.rglob("*"))
    recipe = of_folder(root, classes=["cat", "dog"], per_class=6)
    told = data.describe_images(recipe)
    assert sorted(tmp_path.rglob("*")) == before
    dataset = data.load(recipe, cache=tmp_path / "cache")
    splits = {"train": dataset.train, "val": dataset.val, "test": dataset.test}
    counts = ", ".join(f"{len(split)} {name}" for name, split in splits.items() if split is not None)
    assert told.startswith(f"there ({counts} images in 2 classes;")
    (root / "train/cat/0.png").write_text("no image")
    assert data.describe_images(of_folder(root, classes=["cat", "dog"], bad="skip")).startswith("there (")


def test_a_folder_that_holds_no_copy_of_a_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was said to be there, whatever the folder held; a run would download the images into it."""
    monkeypatch.setenv("ATTNCLI_DATA", str(tmp_path / "none"))
    for name in ("cifar10", "mnist", "imagenette", "tiny-imagenet-200", "stl10", "svhn"):
        assert data.describe_images(Data(name=name, root=str(tmp_path))) == "to be fetched", name
        assert data.describe_images(Data(name=name)) == "to be fetched", name
    whole = tmp_path / "whole"
    for seed, wordnet_id in enumerate(imagenette.CLASSES):
        picture(whole / "train" / wordnet_id / "0.png", seed)
        picture(whole / "val" / wordnet_id / "0.png", 99 - seed)
    assert data.describe_images(Data(name="imagenette", root=str(whole))).startswith("there (10 train, 10 test images")


def test_root_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The nearest folder beside it is suggested; without one, a relative path is told from where it counts."""
    monkeypatch.chdir(tmp_path)
    folder(tmp_path / "photos" / "animals")
    for typed, suggestion in (("photos/animal", "photos/animals"), ("photo", "photos")):
        missing = find_missing_root(Data(name="folder", root=typed))
        assert missing is not None
        assert missing.hint == f"did you mean {suggestion}?"
    relative, absolute = (find_missing_root(Data(name="folder", root=root)) for root in ("q", f"{tmp_path}/q"))
    assert relative is not None
    assert absolute is not None
    assert relative.hint.endswith(f"from the folder of the command, {tmp_path}")
    assert str(tmp_path) not in absolute.hint


def test_images_that_others_are_made_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clips are there if their images are; a dataset of the hub that is named needs no name."""
    monkeypatch.setenv("ATTNCLI_DATA", str(tmp_path / "none"))
    assert data.describe_images(Data(name="clips")) == "there"
    assert data.describe_images(Data(name="clips", of="cifar10")) == "to be fetched"
    assert "x: no such folder" in data.describe_images(Data(name="clips", of="folder", root=str(tmp_path / "x")))
    own = Data(name="clips", of="folder", root=str(folder(tmp_path / "x")))
    assert data.describe_images(own).startswith("there (")
    empty(tmp_path / "x/train/dog")
    assert "no files in 'dog'" in refuse_alike(own, tmp_path).problem
    assert "--set data.of" in data.describe_images(Data(name="hf"))
    assert "--set data.of" not in data.describe_images(Data(name="hf", of="a/b"))


def test_mirroring_by_default_is_said_of_own_images(tmp_path: Path) -> None:
    """Letters and signs change their class by it, and only the user knows what the images show."""
    root = folder(tmp_path / "x")
    told = {flip: data.describe_images(of_folder(root, flip=flip)) for flip in (None, True, False)}
    assert {flip: "data.flip=false" in text for flip, text in told.items()} == {None: True, True: False, False: False}
    assert "data.flip=false" in data.describe_images(Data(name="hf", of="a/b"))
    assert "data.flip" not in data.describe_images(Data(name="digits"))
