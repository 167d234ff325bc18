"""A folder of images: layouts, sizes, formats, and everything that can be wrong with it."""

import os
import shlex
import shutil
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from attncli import data
from attncli.data.dataset import Dataset
from attncli.data.images.decode import Target, decode_image
from attncli.errors import UserError
from tests.data.image_fixtures import CLASSES, folder, noise, of_folder, picture


def load(root: Path, **keys: object) -> Dataset:
    """Load the folder as a dataset, with a cache next to it."""
    return data.load(of_folder(root, **keys), cache=root.parent / "cache")


def refused(root: Path, **keys: object) -> UserError:
    """The error that loading ends in."""
    with pytest.raises(UserError) as caught:
        load(root, **keys)
    return caught.value


def test_images_and_labels(tmp_path: Path) -> None:
    """Every file's pixels, exactly, under the number of its class by name."""
    dataset = load(folder(tmp_path / "x"), val_fraction=0.0)
    assert dataset.classes == CLASSES
    assert dataset.train.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    expected = np.stack([noise(seed) for seed in range(12)]).transpose(0, 3, 1, 2)
    assert np.array_equal(dataset.train.images.numpy(), expected)
    expected = np.stack([noise(seed) for seed in range(12, 24)]).transpose(0, 3, 1, 2)
    assert np.array_equal(dataset.test.images.numpy(), expected)
    assert dataset.flip
    assert dataset.origin == str(tmp_path / "x")


def test_val_serves_as_test(tmp_path: Path) -> None:
    """Without test/, val/ is the test set and the validation part is cut from train/."""
    dataset = load(folder(tmp_path / "x", ("train", "val")), val_fraction=0.25)
    assert dataset.val is not None
    assert [len(s) for s in (dataset.train, dataset.val, dataset.test)] == [9, 3, 12]
    assert np.array_equal(dataset.test.images[0].numpy(), noise(12).transpose(2, 0, 1))


def test_val_and_test_are_both_used(tmp_path: Path) -> None:
    """With both, nothing is cut from train/."""
    dataset = load(folder(tmp_path / "x", ("train", "val", "test"), each=3))
    assert dataset.val is not None
    assert [len(s) for s in (dataset.train, dataset.val, dataset.test)] == [9, 9, 9]
    assert np.array_equal(dataset.val.images[0].numpy(), noise(9).transpose(2, 0, 1))
    assert np.array_equal(dataset.test.images[0].numpy(), noise(18).transpose(2, 0, 1))


def test_a_lone_folder_in_each_split_is_looked_into(tmp_path: Path) -> None:
    """train/images/CLASS/* is the same dataset as train/CLASS/*; one class alone stays an error."""
    root = folder(tmp_path / "x")
    expected = load(root)
    for split in ("train", "test"):
        (root / split).rename(tmp_path / split)
        (root / split).mkdir()
        (tmp_path / split).rename(root / split / "images")
    dataset = load(root)
    assert dataset.classes == CLASSES
    assert dataset.train.labels.tolist() == expected.train.labels.tolist()
    assert torch.equal(dataset.test.images, expected.test.images)
    for name in CLASSES[1:]:
        shutil.rmtree(root / "train" / "images" / name)
    assert "at least two classes" in refused(root).problem


@pytest.mark.parametrize("name", ["x.npz", "x.H5", "train.arrow", "x.tfrecord"])
def test_foreign_formats_are_named(tmp_path: Path, name: str) -> None:
    """A file that no dataset reads is refused as what it is, whichever dataset is asked to read it."""
    (tmp_path / name).touch()
    for dataset in ("folder", "parquet", "table"):
        with pytest.raises(UserError, match="no dataset here reads") as caught:
            data.check_data_root(of_folder(tmp_path / name).model_copy(update={"name": dataset}))
        assert "Parquet" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("pathmnist.npz", ("arrays of NumPy", "Parquet")),
        ("train/shard-0000.tar", ("an archive", "unpack")),
        ("x.tfrecord-00000-of-00002", ("records of TensorFlow", "Parquet")),
        ("MNIST/raw/train-images-idx3-ubyte", ("published", "--dataset mnist or fashion-mnist")),
        ("cifar-10-batches-py/data_batch_1", ("published", "--dataset cifar10")),
        ("train_32x32.mat", ("published", "--dataset svhn")),
        ("labels.xlsx", ("a spreadsheet", "CSV")),
        ("train/data-00000-of-00001.arrow", ("an Arrow file", "to_parquet")),
    ],
)
def test_a_folder_of_foreign_files_is_named(tmp_path: Path, name: str, words: tuple[str, str]) -> None:
    """Its first such file is named as what it is, with the way on; notes beside it do not matter, an image does."""
    path = tmp_path / "x" / name
    path.parent.mkdir(parents=True)
    path.touch()
    (tmp_path / "x/README.md").touch()
    with pytest.raises(UserError) as caught:
        data.check_data_root(of_folder(tmp_path / "x"))
    assert f"only holds {name}: " in caught.value.problem
    assert words[0] in caught.value.problem
    assert words[1] in caught.value.hint
    picture(tmp_path / "x/train/cat/0.png", 0)
    data.check_data_root(of_folder(tmp_path / "x").model_copy(update={"name": "table"}))


def test_linked_folders_beside_an_archive_may_hold_images(tmp_path: Path) -> None:
    """The images are where the links lead; an archive beside them is no reason to refuse the folder."""
    folder(tmp_path / "big")
    (tmp_path / "x").mkdir()
    (tmp_path / "x/images.zip").touch()
    for split in ("train", "test"):
        (tmp_path / "x" / split).symlink_to(tmp_path / "big" / split)
    data.check_data_root(of_folder(tmp_path / "x"))
    assert len(load(tmp_path / "x", val_fraction=0.0).train) == 12


@pytest.mark.parametrize(
    "names",
    [("Train_Set", "Test_Set"), ("training_set/training_set", "test_set/test_set"), ("seg_train/x", "seg_test/y")],
)
def test_splits_whose_names_have_more_words(tmp_path: Path, names: tuple[str, str]) -> None:
    """They are splits if they hold folders of classes; a third folder of the same classes is refused."""
    root = folder(tmp_path / "x", names)
    (root / "seg_pred").mkdir()
    picture(root / "seg_pred/0.png", 99)
    dataset = load(root, val_fraction=0.0)
    assert dataset.train.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert np.array_equal(dataset.test.images[0].numpy(), noise(12).transpose(2, 0, 1))
    if "/" not in names[0]:
        picture(root / "extra/cat/0.png", 98)
        assert "'extra'" in refused(root).problem


@pytest.mark.parametrize(
    "names", [("train_images", "test_images"), ("cars_train", "cars_test"), ("train2017", "val2017")]
)
def test_splits_without_classes_are_no_classes(tmp_path: Path, names: tuple[str, str]) -> None:
    """Two folders of images that are splits by their names are refused; among other folders they are classes."""
    for number, name in enumerate(names):
        for i in range(4):
            picture(tmp_path / "x" / name / f"{i}.png", 10 * number + i)
    error = refused(tmp_path / "x")
    assert all(f"'{name}'" in error.problem for name in names)
    assert "--dataset table" in error.hint
    for i in range(4):
        picture(tmp_path / "x/bus" / f"{i}.png", 50 + i)
    assert load(tmp_path / "x").classes == tuple(sorted([*names, "bus"]))


def test_what_is_not_used_is_said(tmp_path: Path) -> None:
    """A test folder without classes, a table beside the classes, and folders within a class each have a note."""
    root = folder(tmp_path / "x", ("train",))
    picture(root / "test1/0.png", 99)
    picture(root / "train/cat/young/0.png", 98)
    assert not any("within a class" in note for note in load(root).notes)
    picture(root / "train/cat/old/0.png", 97)
    (root / "train/labels.csv").touch()
    notes = load(root).notes
    assert any("'test1'" in note for note in notes)
    assert any(f"--data-root {root / 'train/labels.csv'}" in note for note in notes)
    assert any("train/cat/old/" in note for note in notes)


def test_masks_and_augmented_copies_are_said(tmp_path: Path) -> None:
    """1_mask.png beside 1.png, and Roboflow's copies if the test set is cut; the pattern of the note groups them."""
    root = folder(tmp_path / "x", ("",), each=8)
    assert not [note for note in load(root).notes if "mask" in note or "copies" in note]
    for i in range(8):
        picture(root / f"cat/3_mask_{i}.png", 900 + i)
    for i in range(6):
        picture(root / f"dog/s{i // 2}_jpg.rf.{i:032x}.png", 800 + i)
    notes = load(root).notes
    assert any("8 images named as masks of others, such as cat/3_mask_0" in note for note in notes)
    (pattern,) = (note.split("data.group_pattern=")[1].split("'")[0] for note in notes if ": 3; --set" in note)
    shutil.rmtree(root / "cat")
    shutil.rmtree(root / "owl")
    for i in range(8):
        (root / f"dog/{i}.png").unlink()
        picture(root / f"cat/s{i // 2}_jpg.rf.{i:032x}.png", 700 + i)
    assert not [note for note in load(root, group_pattern=pattern).notes if "copies" in note]


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("images/{0}/{1}.png", ("--data-root", "images names")),
        ("{0}/train/{1}.png", ("move cat/train/ to train/cat/",)),
    ],
)
def test_the_hint_says_where_the_classes_are(tmp_path: Path, place: str, words: tuple[str, ...]) -> None:
    """Folders of classes below another folder, and splits within the classes, are named."""
    for number, name in enumerate(CLASSES):
        picture(tmp_path / "x" / place.format(name, number), number)
    (tmp_path / "x/other").mkdir()
    if place.startswith("{0}"):
        (tmp_path / "x/other").rmdir()
    assert all(word in refused(tmp_path / "x").hint for word in words)


def test_unused_splits_that_are_not_there_are_refused(tmp_path: Path) -> None:
    """A folder, a Parquet file or a list that data.unused_splits names has to exist; the hint has the nearest name."""
    folder(tmp_path / "folder", ("train", "test", "extra"))
    for name in ("train", "test", "extra"):
        table = pa.table({"image": [b""] * 2, "label": ["a", "b"]})
        (tmp_path / "parquet").mkdir(exist_ok=True)
        pq.write_table(table, tmp_path / f"parquet/{name}.parquet")
        picture(tmp_path / "table/0.png", 0)
        (tmp_path / f"table/{name}.csv").write_text("path,label\n0.png,a\n")
    for name in ("folder", "parquet", "table"):
        with pytest.raises(UserError, match=r"data\.unused_splits: unknown name: 'extar'") as caught:
            load(tmp_path / name, name=name, unused_splits=["extar", "extra"])
        assert "'extra" in caught.value.hint
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no 'extra' in it") as caught:
        load(tmp_path / "empty", unused_splits=["extra"])
    assert "leave the key out" in caught.value.hint


def test_a_path_as_a_shell_would_read_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Quotes and variables in a recipe are no part of a path: the hint has the path that is meant, if it is there."""
    monkeypatch.setenv("PICTURES", str(tmp_path))
    for text, is_meant in ((f"'{tmp_path}'", True), ("$PICTURES", True), ("$PICTURES/gone", False)):
        with pytest.raises(UserError) as caught:
            data.check_data_root(of_folder(tmp_path).model_copy(update={"root": text}))
        assert (str(tmp_path) in caught.value.hint) == is_meant


def test_other_splits_beside_the_root_are_named(tmp_path: Path) -> None:
    """Who names train/ gets a test set that is cut from it, and is told of test/ beside it; not who names the whole."""
    root = folder(tmp_path / "my photos", ("Train", "test"))
    (root / "notes").mkdir()
    notes = [note for note in load(root / "Train").notes if note.startswith("not used:")]
    assert len(notes) == 1
    assert "'test'" in notes[0]
    assert f"--data-root {shlex.quote(str(root))} " in notes[0]  # as it can be typed
    assert not any(note.startswith("not used:") for note in load(root).notes)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("Train", "Test"), (12, 0, 12)),
        (("Training", "Testing"), (12, 0, 12)),
        (("train", "validation"), (12, 0, 12)),
        (("train", "valid", "test"), (12, 12, 12)),
        (("TRAIN", "dev", "eval"), (12, 12, 12)),
        (("training", "validation", "evaluation"), (12, 12, 12)),
        (("Training_set", "dev", "Testing"), (12, 12, 12)),
        (("train", "valid_images", "test_set"), (12, 12, 12)),
        (("train", "test_set"), (12, 0, 12)),
    ],
)
def test_splits_are_known_in_any_case(tmp_path: Path, names: tuple[str, ...], expected: tuple[int, ...]) -> None:
    """Each usual name of a split is known, and the last one is the test set."""
    dataset = load(folder(tmp_path / "x", names), val_fraction=0.0)
    sizes = (len(dataset.train), len(dataset.val) if dataset.val else 0, len(dataset.test))
    assert sizes == expected
    first_test_seed = 12 * (len(names) - 1)
    assert np.array_equal(dataset.test.images[0].numpy(), noise(first_test_seed).transpose(2, 0, 1))


def test_a_folder_of_no_known_split(tmp_path: Path) -> None:
    """A folder with the same classes is refused, or left out by a key; others, such as runs/, do not disturb."""
    root = folder(tmp_path / "x", ("train", "test", "extra"))
    (root / "runs").mkdir()
    error = refused(root)
    assert "not a known split: 'extra'; it has 'extra', 'test', 'train'" in error.problem
    assert "data.unused_splits=[extra]" in error.hint
    assert len(load(root, unused_splits=["extra"], val_fraction=0.0).train) == 12


@pytest.mark.parametrize("names", [("train", "test", "test_hard"), ("train", "train_more", "test")])
def test_a_word_that_another_folder_has_is_no_split(tmp_path: Path, names: tuple[str, ...]) -> None:
    """Of two folders with the word of one split, nobody can know which one is meant: the longer name is refused."""
    assert f"not a known split: '{max(names, key=len)}'" in refused(folder(tmp_path / "x", names)).problem


def test_two_folders_of_one_split(tmp_path: Path) -> None:
    """val/ and valid/ together are refused: nobody can know which one is meant."""
    root = folder(tmp_path / "x", ("train", "val", "valid"))
    error = refused(root)
    assert "'val' and 'valid' are the same split" in error.problem
    assert len(load(root, unused_splits=["valid"], val_fraction=0.0).test) == 12


def test_only_what_is_kept_is_decoded(tmp_path: Path) -> None:
    """Of a class that is left out, not even broken files matter."""
    root = folder(tmp_path / "x")
    (root / "train/owl/0.png").write_text("broken")
    assert len(load(root, classes=["cat", "dog"], val_fraction=0.0).train) == 8


def test_folders_within_a_class_and_hidden_files(tmp_path: Path) -> None:
    """Files at any depth belong to the class; hidden files and a file manager's files are skipped."""
    root = folder(tmp_path / "x")
    picture(root / "train/cat/more/5.png", 99)
    for name in (".DS_Store", "Thumbs.db"):
        (root / "train/cat" / name).write_text("no image")
    for name in (".cache", "__MACOSX", "@eaDir"):
        picture(root / "train" / name / "0.png", 98)
        picture(root / "train/cat" / name / "0.png", 97)
    assert load(root, val_fraction=0.0).train.labels.bincount().tolist() == [5, 4, 4]


def test_sizes_that_differ_name_two_files(tmp_path: Path) -> None:
    """Without image_size, the error names two files with their sizes; with it, they are all made alike."""
    root = folder(tmp_path / "x")
    picture(root / "train/dog/2.png", 99, (10, 9))
    error = refused(root)
    assert "train/cat/0.png is 8 x 8, train/dog/2.png is 10 x 9" in error.problem
    assert "--image-size" in error.hint
    assert load(root, image_size=6).size == (6, 6)


def test_test_images_must_have_the_size_too(tmp_path: Path) -> None:
    """A test image of another size is named together with the training image that set the size."""
    root = folder(tmp_path / "x")
    picture(root / "test/owl/3.png", 99, (8, 12))
    assert "train/cat/0.png is 8 x 8, test/owl/3.png is 8 x 12" in refused(root).problem


def test_equal_sizes_need_not_be_square(tmp_path: Path) -> None:
    """Images that are all 10 wide and 6 high are taken as they are."""
    dataset = load(folder(tmp_path / "x", size=(10, 6)))
    assert dataset.size == (6, 10)
    assert dataset.pad == 0
    assert dataset.train.images.shape[1:] == (3, 6, 10)


def test_shorter_side_and_centre(tmp_path: Path) -> None:
    """A wide image is cut in the middle: of black, grey and white thirds the grey one stays."""
    wide = np.repeat(np.array([0, 128, 255], np.uint8), 12)[None, :, None] * np.ones((12, 1, 3), np.uint8)
    Image.fromarray(wide).save(tmp_path / "wide.png")
    Image.fromarray(wide.transpose(1, 0, 2)).save(tmp_path / "high.png")
    for name in ("wide", "high"):
        assert (decode_image(tmp_path / f"{name}.png", Target(12, 12)).pixels == 128).all()
        assert (decode_image(tmp_path / f"{name}.png", Target(6, 6)).pixels[2:4, 2:4] == 128).all()


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK", "I;16"])
def test_every_common_kind_of_image(tmp_path: Path, mode: str) -> None:
    """Grey, palette, transparent, CMYK and 16-bit files of one plain colour decode to that colour."""
    grey = 255 if mode == "1" else 102  # of the web palette
    if mode == "I;16":
        image = Image.fromarray(np.full((4, 4), grey << 8, np.uint16))
    else:
        image = Image.new("RGB", (4, 4), (grey, grey, grey)).convert(mode)
    path = tmp_path / ("x.tif" if mode == "CMYK" else "x.png")
    image.save(path)
    assert (decode_image(path, Target(4, 4)).pixels.astype(int) == grey).all()


def test_transparent_palette(tmp_path: Path) -> None:
    """A palette with a transparent entry decodes without a warning."""
    image = Image.new("RGB", (4, 4), (10, 20, 30)).quantize(4)
    image.save(tmp_path / "x.png", transparency=bytes([0, 255, 255, 255]))
    assert (decode_image(tmp_path / "x.png", Target(4, 4)).pixels == (10, 20, 30)).all()


@pytest.mark.parametrize("kind", ["jpeg", "bmp", "gif", "webp", "tiff"])
def test_common_formats(tmp_path: Path, kind: str) -> None:
    """Formats that Pillow reads are read."""
    Image.new("RGB", (8, 8), (80, 80, 80)).save(tmp_path / f"x.{kind}")
    assert np.abs(decode_image(tmp_path / f"x.{kind}", Target(8, 8)).pixels.astype(int) - 80).max() <= 2


def test_bad_files_are_all_named(tmp_path: Path) -> None:
    """A text, an empty file and a cut-off image are named with the reason; nothing is left in the cache."""
    root = folder(tmp_path / "x")
    (root / "train/cat/1.png").write_text("I am a cat")
    (root / "train/dog/0.png").write_bytes(b"")
    whole = (root / "train/owl/2.png").read_bytes()
    (root / "train/owl/2.png").write_bytes(whole[: len(whole) // 2])
    error = refused(root, val_fraction=0.0)
    assert "3 of 12 files" in error.problem
    for name in ("train/cat/1.png (not an image)", "train/dog/0.png (an empty file)", "train/owl/2.png ("):
        assert name in error.problem
    assert "\n" not in error.problem
    assert not list((tmp_path / "cache").glob("*.bin"))
    assert not list((tmp_path / "cache").glob(".*"))


def test_of_many_bad_files_five_are_named(tmp_path: Path) -> None:
    """Seven bad files: five names and 'and 2 more'."""
    root = folder(tmp_path / "x", each=8)
    for i in range(7):
        (root / f"test/dog/{i}.png").write_text("no")
    error = refused(root)
    assert "7 of 24" in error.problem
    assert error.problem.count("(not an image)") == 5
    assert "and 2 more" in error.problem


def test_a_first_file_that_is_no_image_is_named(tmp_path: Path) -> None:
    """The file that would set the size may be the broken one."""
    root = folder(tmp_path / "x")
    (root / "train/cat/0.png").write_text("no")
    assert "train/cat/0.png (not an image)" in refused(root).problem


def test_no_image_at_all(tmp_path: Path) -> None:
    """A folder of texts says that not one file is an image."""
    root = folder(tmp_path / "x")
    for path in (root / "train").rglob("*.png"):
        path.write_text("no")
    assert "train: none of the files" in refused(root).problem


@pytest.mark.parametrize(
    ("change", "problem", "hint"),
    [
        (lambda r: shutil.rmtree(r), "no such folder", "--data-root"),
        (lambda r: (r / "train").rename(r / "trian"), "no folder train/", "did you mean 'trian'"),
        (lambda r: (r / "test").rename(r / "tset"), "not a known split: 'tset'", "rename it"),
        (lambda r: [(r / p).rename(r / p[::-1]) for p in ("train", "test")], "no folder train/", "CLASS/*.jpg"),
        (lambda r: [shutil.rmtree(r / "train" / c) for c in ("cat", "dog")], "one folder only ('owl')", "CLASS"),
        (lambda r: [shutil.rmtree(r / "train" / c) for c in CLASSES], "no folders", "CLASS"),
        (lambda r: [p.unlink() for p in (r / "train/dog").iterdir()], "train: no files in 'dog'", "remove the empty"),
        (lambda r: [p.unlink() for p in (r / "test/dog").iterdir()], "test: no files in 'dog'", "remove the empty"),
        (lambda r: (r / "train/dog").rename(r / "train/dogs"), "'dogs' in train/ but not in test/", "'dog'"),
        (lambda r: shutil.rmtree(r / "test/owl"), "'owl' in train/ but not in test/", "same classes"),
        (lambda r: shutil.rmtree(r / "train/owl"), "'owl' in test/ but not in train/", "same classes"),
        (
            lambda r: (r / "train/cat/0.png").rename(r / "train/0.png"),
            "0.png: a file outside",
            "move it to train/CLASS/",
        ),
    ],
)
def test_layouts_that_cannot_be_used(tmp_path: Path, change, problem: str, hint: str) -> None:
    """Each names the place and what to do."""
    root = folder(tmp_path / "x")
    change(root)
    error = refused(root)
    assert problem in error.problem
    assert hint in error.hint


def test_a_wrong_layout_is_found_before_anything_is_loaded(tmp_path: Path) -> None:
    """A folder that holds something else is refused by the check that needs no torch."""
    (tmp_path / "documents").mkdir()
    with pytest.raises(UserError, match="no folder train/"):
        data.check_data_root(of_folder(tmp_path))
    data.check_data_root(of_folder(folder(tmp_path / "x", each=1)))


def test_train_as_the_name_of_a_class(tmp_path: Path) -> None:
    """bus/, car/ and train/ with images are classes; train/ and test/ with images are splits without classes."""
    for number, name in enumerate(("bus", "car", "train")):
        for i in range(5):
            picture(tmp_path / "x" / name / f"{i}.png", 10 * number + i)
    assert load(tmp_path / "x").classes == ("bus", "car", "train")
    (tmp_path / "x/car").rename(tmp_path / "x/test")
    assert "a file outside the folders of the classes" in refused(tmp_path / "x").problem


@pytest.mark.parametrize(
    ("dataset", "name", "hint"),
    [
        ("folder", "x.zip", "unpack it"),
        ("parquet", "x.tar.gz", "unpack it"),
        ("folder", "x.csv", "--dataset table"),
        ("table", "x.parquet", "--dataset parquet"),
        ("imagenet", "x.jpg", "train/WNID"),
    ],
)
def test_a_root_of_another_kind(tmp_path: Path, dataset: str, name: str, hint: str) -> None:
    """An archive, or a file for another reader, is named as such before anything is loaded."""
    (tmp_path / name).touch()
    with pytest.raises(UserError) as caught:
        data.check_data_root(of_folder(tmp_path / name).model_copy(update={"name": dataset}))
    assert hint in caught.value.hint
    assert "no such" not in caught.value.problem


def test_folder_without_a_root(tmp_path: Path) -> None:
    """The dataset `folder` asks for data.root."""
    with pytest.raises(UserError, match=r"data\.root") as caught:
        data.load(of_folder(tmp_path).model_copy(update={"root": None}), cache=tmp_path)
    assert "--data-root" in caught.value.hint


def test_subsets_of_a_folder(tmp_path: Path) -> None:
    """per_class keeps that many images of each class; the test set stays complete."""
    dataset = load(folder(tmp_path / "x"), per_class=2, val_fraction=0.5)
    assert dataset.val is not None
    assert dataset.train.labels.tolist() == dataset.val.labels.tolist() == [0, 1, 2]
    assert len(dataset.test) == 12
    assert not {i.numpy().tobytes() for i in dataset.train.images} & {i.numpy().tobytes() for i in dataset.val.images}
    assert torch.equal(dataset.test.labels.bincount(), torch.tensor([4, 4, 4]))


def test_a_link_without_a_target_is_an_unreadable_image(tmp_path: Path) -> None:
    """It is named with its reason beside the other unreadable files; the verification names it too."""
    root = folder(tmp_path / "x")
    (root / "train/cat/gone.png").symlink_to(tmp_path / "nowhere.png")
    (root / "train/cat/loop.png").symlink_to("loop.png")
    error = refused(root)
    assert "train/cat/gone.png (a link without a target)" in error.problem
    assert "train/cat/loop.png (Too many levels of symbolic links)" in error.problem
    problems = data.verify_dataset(of_folder(root)).problems
    assert "train/cat/gone.png: a link without a target" in problems


@pytest.mark.parametrize("target", [".", "..", "../.."])
def test_a_folder_that_links_back_is_refused(tmp_path: Path, target: str) -> None:
    """A link to a folder above it would list the same images again and again."""
    root = folder(tmp_path / "x")
    (root / "train/cat/back").symlink_to(target)
    error = refused(root)
    assert f"{root}/train/cat/back: a link back" in error.problem


def test_links_to_folders_elsewhere_are_followed(tmp_path: Path) -> None:
    """A class may be a link to a folder, and a file a link to a file."""
    root = folder(tmp_path / "x")
    (root / "train/cat").rename(tmp_path / "cats")
    (root / "train/cat").symlink_to(tmp_path / "cats")
    assert np.array_equal(load(root, val_fraction=0.0).train.images[1].numpy(), noise(1).transpose(2, 0, 1))


def test_names_of_files_need_not_be_utf8(tmp_path: Path) -> None:
    """A file of any name is read, and named with its bytes escaped if it is broken; a class needs a name in UTF-8."""
    root = folder(tmp_path / "x")
    strange = Path(os.fsdecode(os.fsencode(root / "train/cat") + b"/caf\xe9.png"))
    (root / "train/cat/0.png").rename(strange)
    dataset = load(root, val_fraction=0.0)
    assert noise(0).transpose(2, 0, 1).tobytes() in {image.numpy().tobytes() for image in dataset.train.images}
    strange.write_text("no image")
    assert r"train/cat/caf\xe9.png (not an image)" in refused(root).problem
    (root / "train/cat").rename(os.fsdecode(os.fsencode(root / "train") + b"/caf\xe9"))
    assert "valid UTF-8" in refused(root).problem


@pytest.mark.parametrize("path", ["\udce9", "~nosuchuser/x", "a" * 5000])
def test_paths_that_no_folder_can_have(path: str) -> None:
    """A path that cannot be looked up or recorded is refused under its key."""
    with pytest.raises(UserError, match=r"^data\.root: "):
        data.load(of_folder(Path("x")).model_copy(update={"root": path}), cache=Path("y"))


def test_a_folder_of_classes_without_splits(tmp_path: Path) -> None:
    """One fifth of each class is the test set, the same one each time, and the run says so; no image is in both."""
    root = folder(tmp_path / "x", ("",), each=10)
    dataset = load(root, val_fraction=0.0)
    assert dataset.classes == CLASSES
    assert [split.labels.bincount().tolist() for split in (dataset.train, dataset.test)] == [[8, 8, 8], [2, 2, 2]]
    images = [{i.numpy().tobytes() for i in split.images} for split in (dataset.train, dataset.test)]
    assert not images[0] & images[1]
    assert any("one fifth of each class" in note for note in dataset.notes)
    assert load(root, val_fraction=0.0).digest == dataset.digest
    assert load(folder(tmp_path / "y", ("train",), each=10), val_fraction=0.0).digest == dataset.digest
    (root / "runs/cache").mkdir(parents=True)
    assert "data.unused_splits" in refused(root).hint
    assert load(root, val_fraction=0.0, unused_splits=["runs"]).digest == dataset.digest


def test_a_lone_folder_is_looked_into(tmp_path: Path) -> None:
    """Archives often hold their dataset in a folder of its own, beside what the system wrote."""
    picture(tmp_path / "x/__MACOSX/a/0.png", 99)
    folder(tmp_path / "x/pets/pets")
    (tmp_path / "x/README.txt").write_text("of the archive")
    assert load(tmp_path / "x", val_fraction=0.0).digest == load(folder(tmp_path / "y"), val_fraction=0.0).digest


def test_a_test_folder_without_classes_is_left_out(tmp_path: Path) -> None:
    """As on Kaggle: test/ holds images without labels, so the test set is cut from train/."""
    root = folder(tmp_path / "x", ("train",), each=10)
    picture(root / "test/1.png", 99)
    assert [len(s) for s in (lambda d: (d.train, d.test))(load(root, val_fraction=0.0))] == [24, 6]


def test_files_that_are_no_images_are_skipped_and_counted(tmp_path: Path) -> None:
    """Notes, tables and side files among the images do not disturb, in and beside the classes, and are counted."""
    root = folder(tmp_path / "x")
    for name in ("train/_annotations.csv", "train/cat/labels.txt", "test/README.md", "test/dog/0.xmp"):
        (root / name).write_text("no image")
    dataset = load(root, val_fraction=0.0)
    assert [len(dataset.train), len(dataset.test)] == [12, 12]
    (note,) = (note for note in dataset.notes if note.startswith("skipped"))
    assert note.startswith("skipped, 4 files not named as images: ")
    assert "train/_annotations.csv" in note
    assert note.endswith(" and 1 more")
    assert note in data.verify_dataset(of_folder(root)).remarks


def test_classes_that_are_not_chosen_may_be_empty(tmp_path: Path) -> None:
    """An empty folder, or a class of the test folder only, matters only if its class is used."""
    root = folder(tmp_path / "x")
    shutil.rmtree(root / "test/owl")
    (root / "train/newt").mkdir()
    assert load(root, classes=["cat", "dog"], val_fraction=0.0).classes == ("cat", "dog")
    assert "train: no files in 'newt'" in refused(root).problem
    assert "data.classes" in refused(root).hint


def test_bad_files_are_left_out_by_choice(tmp_path: Path) -> None:
    """data.bad=skip leaves out what cannot be read, says which, and makes another digest; classes keep their labels."""
    root = folder(tmp_path / "x")
    whole = load(root, val_fraction=0.0)
    assert load(root, val_fraction=0.0, bad="skip").digest == whole.digest
    (root / "train/cat/0.png").write_bytes((root / "train/cat/0.png").read_bytes()[:60])
    (root / "test/dog/1.png").write_bytes(b"")
    assert "data.bad=skip" in refused(root, val_fraction=0.0).hint
    dataset = load(root, val_fraction=0.0, bad="skip")
    assert dataset.train.labels.tolist() == [0] * 3 + [1] * 4 + [2] * 4
    assert dataset.test.labels.bincount().tolist() == [4, 3, 4]
    assert np.array_equal(dataset.train.images[0].numpy(), noise(1).transpose(2, 0, 1))
    (note,) = dataset.notes
    assert note.startswith("left out, 2 files that cannot be read: train/cat/0.png (")
    assert "test/dog/1.png (an empty file)" in note
    again = load(root, val_fraction=0.0, bad="skip")
    assert (again.digest, again.notes) == (dataset.digest, dataset.notes)
    (root / "train/cat/0.png").unlink()
    (root / "test/dog/1.png").unlink()
    assert load(root, val_fraction=0.0, bad="skip").digest not in (whole.digest, dataset.digest)


def test_a_class_of_bad_files_only_is_named(tmp_path: Path) -> None:
    """Leaving files out never leaves out a class without a word."""
    root = folder(tmp_path / "x")
    for path in (root / "train/dog").iterdir():
        path.write_text("broken")
    assert "no images of 'dog' in the split train" in refused(root, bad="skip").problem


def encode_tiff(bands: int) -> bytes:
    """A TIFF of one pixel, with 16 bits in each band."""
    tags = {256: 1, 257: 1, 258: 16, 259: 1, 262: 1, 273: 200, 277: bands, 278: 1, 279: 2 * bands}
    entries = b"".join(struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in tags.items())
    return (b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries).ljust(200 + 2 * bands, b"\0")


FORMATS = {
    "HEIC": b"\x00\x00\x00\x18ftypheic\x00\x00",
    "JPEG XL": b"\xff\x0a\xfa\x7f",
    "a camera's raw file": b"FUJIFILMCCD-RAW 0201",
    "DICOM": b"\x00" * 128 + b"DICM",
    "a web page": b"\n<!DOCTYPE html><html>",
    "a pointer of Git LFS": b"version https://git-lfs.github.com/spec/v1",
    "a video": b"\x00\x00\x00\x18ftypisom",
    "an empty file": b"",
    "a TIFF or raw file that is broken, or has bands or bits that Pillow lacks": encode_tiff(13),
    "not an image": b"\x01\x02\x03",
}


@pytest.mark.parametrize("name", FORMATS)
def test_files_are_named_as_what_they_are(tmp_path: Path, name: str) -> None:
    """A format that Pillow lacks, or a file that is none, is said to be that."""
    root = folder(tmp_path / "x")
    (root / "train/cat/9.jpg").write_bytes(FORMATS[name])
    assert f"train/cat/9.jpg ({name}" in refused(root).problem


def test_huge_images_by_a_key(tmp_path: Path) -> None:
    """More pixels than the limit are refused with the key that allows them."""
    root = folder(tmp_path / "x")
    picture(root / "train/cat/9.png", 99, (50, 40))
    error = refused(root, image_size=8, max_pixels=1999)
    assert "train/cat/9.png (50 x 40 pixels, more than data.max_pixels=1999" in error.problem
    assert len(load(root, image_size=8, max_pixels=2000, val_fraction=0.0).train) == 13
