"""Lists of paths and labels: CSV, TSV and text files as people have them."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from attncli import data
from attncli.data.dataset import Dataset
from attncli.errors import UserError
from attncli.recipe import Data
from tests.data.image_fixtures import noise, picture


def load(root: Path, **keys: object) -> Dataset:
    """The list as a dataset, nothing held out."""
    recipe = Data.model_validate({"name": "table", "root": str(root), "val_fraction": 0.0, **keys})
    return data.load(recipe, cache=root.parent / "cache")


def pictures(folder: Path, count: int = 10) -> Path:
    """Images 0.png, 1.png, ... of the seeds 0, 1, ..."""
    for seed in range(count):
        picture(folder / f"{seed}.png", seed)
    return folder


def labels_by_image(dataset: Dataset) -> dict[int, str]:
    """The class of each image by its seed."""
    seeds = {noise(seed).transpose(2, 0, 1).tobytes(): seed for seed in range(20)}
    splits = [split for split in (dataset.train, dataset.val, dataset.test) if split is not None]
    return {
        seeds[image.numpy().tobytes()]: dataset.classes[label]
        for split in splits
        for image, label in zip(split.images, split.labels.tolist(), strict=True)
    }


def list_beside(root: Path, lists: dict[str, str]) -> Path:
    """Images in images/a/ and images/b/, and lists in other folders."""
    for seed in range(10):
        picture(root / "images" / "ab"[seed % 2] / f"{seed}.png", seed)
    for name, text in lists.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize("column", ["part", "set", "split"])
def test_a_column_that_is_named_as_labels_or_groups_is_no_split(tmp_path: Path, column: str) -> None:
    """Its usual name would make it the column of splits, and left and right are no splits."""
    pictures(tmp_path / "x")
    labels, groups = (tmp_path / f"{name}.csv" for name in ("labels", "groups"))
    labels.write_text(f"path,{column}\n" + "".join(f"x/{i}.png,{['left', 'right'][i % 2]}\n" for i in range(10)))
    groups.write_text(f"path,label,{column}\n" + "".join(f"x/{i}.png,{'ab'[i % 2]},{i // 2}\n" for i in range(10)))
    assert load(labels, label_column=column).classes == ("left", "right")
    assert load(groups, group_column=column).classes == ("a", "b")


def test_lists_of_paths_only(tmp_path: Path) -> None:
    """Their folders are the classes, which is said; the images lie in another folder than the lists (Food-101, DTD)."""
    lists = {"meta/train.txt": "".join(f"{'ab'[i % 2]}/{i}\n" for i in range(6)),
             "meta/test.txt": "".join(f"{'ab'[i % 2]}/{i}\n" for i in range(6, 10)),
             "meta/classes.txt": "a\nb\n"}  # fmt: skip
    dataset = load(list_beside(tmp_path / "x", lists))
    assert labels_by_image(dataset) == EXPECTED
    assert (len(dataset.train), len(dataset.test)) == (6, 4)
    assert any("the folder of each image is its class" in note for note in dataset.notes)


def test_a_choice_of_columns_is_said(tmp_path: Path) -> None:
    """Of two columns that may hold the label one is taken, and a note has the key that takes the other."""
    rows = "".join(f"images/{'ab'[i % 2]}/{i}.png,{i % 2},{'ab'[i % 2]}\n" for i in range(10))
    path = list_beside(tmp_path / "x", {"x.csv": "path,Label,ClassName\n" + rows}) / "x.csv"
    assert any("'Label'; --set data.label_column=ClassName" in note for note in load(path).notes)
    dataset = load(path, label_column="ClassName")
    assert labels_by_image(dataset) == EXPECTED
    assert not any("data.label_column" in note for note in dataset.notes)


def test_json_of_all_images(tmp_path: Path) -> None:
    """A list of mappings, or a mapping from paths to labels, is as good as a line per image."""
    root = pictures(tmp_path / "x")
    names = {f"{seed}.png": label for seed, label in EXPECTED.items()}
    for content in ([{"path": path, "label": label} for path, label in names.items()], names):
        for indent in (None, 2):
            (root / "x.json").write_text(json.dumps(content, indent=indent))
            assert labels_by_image(load(root / "x.json")) == EXPECTED


def test_lists_that_cannot_be_right(tmp_path: Path) -> None:
    """Addresses of the web are named as such, and labels of which each stands once."""
    root = pictures(tmp_path / "x")
    (root / "x.csv").write_text("url,label\n" + "".join(f"https://x.org/{i}.png?a=1,{i % 2}\n" for i in range(10)))
    with pytest.raises(UserError, match="addresses"):
        load(root / "x.csv")
    (root / "x.csv").write_text("path,label\n" + "".join(f"{i}.png,id{i}\n" for i in range(10)))
    with pytest.raises(UserError) as caught:
        load(root / "x.csv")
    assert "10 classes" in caught.value.hint


def test_classes_with_spaces(tmp_path: Path) -> None:
    """In lines without a delimiter the class may have spaces, or the path, also below comments (Aircraft, pets)."""
    names = {"a": "Falcon 2000", "b": "737-200"}
    text = "".join(f"{i} {names['ab'[i % 2]]}\n" for i in range(10))
    root = list_beside(tmp_path / "x", {"variants.txt": "#Image CLASS-ID\n" + text})
    assert labels_by_image(load(root)) == {seed: names[name] for seed, name in EXPECTED.items()}
    pictures(tmp_path / "y").joinpath("0.png").rename(tmp_path / "y/my own 0.png")
    lines = ["my own 0.png a", *(f"{i}.png {'ab'[i % 2]}" for i in range(1, 10))]
    (tmp_path / "y/x.txt").write_text("\n".join(lines))
    assert labels_by_image(load(tmp_path / "y")) == EXPECTED


def test_lists_of_kaggle(tmp_path: Path) -> None:
    """Columns of boxes, ids without labels for testing, and the example of an answer do not disturb."""
    rows = "".join(f"8,{i},{i % 2},images/{'ab'[i % 2]}/{i}.png\n" for i in range(10))
    lists = {"Train.csv": "Width,Roi.X1,ClassId,Path\n" + rows, "test.csv": "id_code\na/x1\nb/x2\n",
             "sample_submission.csv": "id_code,label\nx1,0\nx2,0\n"}  # fmt: skip
    dataset = load(list_beside(tmp_path / "x", lists))
    assert labels_by_image(dataset) == {seed: str(seed % 2) for seed in range(10)}
    assert any("test.csv has no labels" in note for note in dataset.notes)


@pytest.mark.parametrize(
    "text",
    ["label,pixel0,pixel1\n1,0,255\n", "emotion,pixels,Usage\n0,70 80,Training\n", '{"annotations": [1],\n"a": 2}'],
)
def test_tables_of_no_paths_are_named(tmp_path: Path, text: str) -> None:
    """Pixels in cells and the one JSON text of COCO are refused with a way on."""
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(UserError, match=r"pixels|COCO") as caught:
        load(tmp_path / "x.csv")
    assert "attncli help data" in caught.value.hint


def test_images_in_base64_are_named(tmp_path: Path) -> None:
    """Also those that are too long for a cell; the hint says which kind of table holds them."""
    picture(tmp_path / "0.png", 0, (300, 300))
    text = base64.b64encode((tmp_path / "0.png").read_bytes()).decode()
    for cell in (text[:4000], text):
        (tmp_path / "x.csv").write_text(f"image,label\n{cell},a\n{cell},b\n")
        with pytest.raises(UserError) as caught:
            load(tmp_path / "x.csv")
        assert "Parquet" in caught.value.hint
        assert len(caught.value.problem) < 300


EXPECTED = {seed: "ab"[seed % 2] for seed in range(10)}
LISTS = {
    "header": ("x.csv", "path,label\n", "{}.png,{}\n", EXPECTED),
    "other names, a quoted cell": ("x.csv", "ID,Filename,Class\n", '9,"{}.png", {}\n', EXPECTED),
    "ids without suffix": ("train.csv", "id,breed\n", "{},{}\n", EXPECTED),
    "no header": ("x.csv", "", "{}.png,{}\n", EXPECTED),
    "tabs and a mark of the encoding": ("x.tsv", "\ufeffimage\tlabel\n", "{}.png\t{}\n", EXPECTED),
    "semicolons": ("x.csv", "file_name;target\n", "{}.png;{}\n", EXPECTED),
    "text": ("x.txt", "", "{}.png {}\n", EXPECTED),
    "paths of another machine": ("x.csv", "path,label\n", "C:\\photos\\{}.png,{}\n", EXPECTED),
    "another letter case": ("x.csv", "path,label\n", "{}.PNG,{}\n", EXPECTED),
    "a comma among semicolons": ("x.csv", "path;label, kind\n", "{}.png;{}\n", EXPECTED),
    "an empty cell at the end": ("x.csv", "path,label\n", "{}.png,{},\n", EXPECTED),
    "Excel's line of the delimiter": ("x.csv", "sep=;\npath;label\n", "{}.png;{}\n", EXPECTED),
    "comments at the top": ("x.csv", "# made by me\npath,label\n", "{}.png,{}\n", EXPECTED),
    "JSON lines": ("x.jsonl", "", '{{"file_name": "{}.png", "boxes": [1], "label": "{}"}}\n', EXPECTED),
    "the label first": ("x.txt", "", "{1} {0}.png\n", EXPECTED),
    "paths in the plural": ("birds.csv", "class id,filepaths,labels\n", "7,{}.png,{}\n", EXPECTED),
    "zeros before numbers": ("x.csv", "path,label\n", "{}.png,0{}\n", {seed: "12"[seed % 2] for seed in range(10)}),
}


@pytest.mark.parametrize("kind", LISTS)
def test_lists_of_any_form(tmp_path: Path, kind: str) -> None:
    """Every image gets its own label, whatever the form of the list."""
    name, header, line, expected = LISTS[kind]
    root = pictures(tmp_path / "x")
    (root / name).write_text(header + "".join(line.format(seed, label) for seed, label in expected.items()))
    dataset = load(root / name)
    zeros = "0" if kind.startswith("zeros") else ""
    assert labels_by_image(dataset) == {seed: zeros + label for seed, label in expected.items()}
    assert load(root).digest == dataset.digest


def test_a_list_in_utf16(tmp_path: Path) -> None:
    """Spreadsheets write Unicode text in UTF-16."""
    root = pictures(tmp_path / "x")
    text = "path\tlabel\n" + "".join(f"{seed}.png\t{label}\n" for seed, label in EXPECTED.items())
    (root / "x.txt").write_text(text, encoding="utf-16")
    assert labels_by_image(load(root / "x.txt")) == EXPECTED


def test_paths_of_another_machine(tmp_path: Path) -> None:
    """Of files of one name, the one in the folders of the list's path is meant; a file in other folders is reported."""
    root = tmp_path / "x"
    for seed in range(10):
        picture(root / "ab"[seed % 2] / f"{seed // 2}.png", seed)
    rows = "".join(f"/home/me/{label}/{seed // 2}.png,{label}\n" for seed, label in EXPECTED.items())
    (root / "x.csv").write_text("path,label\n" + rows)
    dataset = load(root / "x.csv")
    assert labels_by_image(dataset) == EXPECTED
    assert not any("folders" in note for note in dataset.notes)
    picture(root / "c/9.png", 9)
    (root / "x.csv").write_text("path,label\n" + rows + "other/9.png,b\n")
    assert any("1 image in other folders" in note for note in load(root / "x.csv").notes)


def test_names_of_columns_that_nobody_knows(tmp_path: Path) -> None:
    """A first line that is no image may be a header: the hint says how to name its columns."""
    root = pictures(tmp_path / "x")
    (root / "x.csv").write_text("Das Bild;Art\n" + "".join(f"{seed}.png;{label}\n" for seed, label in EXPECTED.items()))
    with pytest.raises(UserError, match="1 of 11 images not there: Das Bild") as caught:
        load(root / "x.csv")
    assert "--set 'data.image_column=Das Bild'" in caught.value.hint
    assert labels_by_image(load(root / "x.csv", image_column="Das Bild")) == EXPECTED


def test_a_header_that_nobody_knows_above_another_column(tmp_path: Path) -> None:
    """No image is found then: both causes are named, and the second only where the first line is no image."""
    root = pictures(tmp_path / "x")
    for first, is_header in (("Art,Das Bild\n", True), ("q/99.png,a\n", False)):
        (root / "x.csv").write_text(first + "".join(f"s{seed},{seed}.png\n" for seed in EXPECTED))
        with pytest.raises(UserError, match="11 of 11 images not there") as caught:
            load(root / "x.csv")
        assert ("--set data.image_column=NAME" in caught.value.hint) == is_header
        assert "--data-root" in caught.value.hint


def test_classes_that_look_alike_or_have_no_test_image(tmp_path: Path) -> None:
    """Names that differ in case, zeros or the form of Unicode are likely one class; a class may lack test images."""
    root = pictures(tmp_path / "x", 8)
    labels = ("Cat", "cat", "1", "01", "caf\u00e9", "cafe\u0301", "dog", "dog")
    rows = [f"{seed}.png,{label},{'test' if seed == 7 else 'train'}" for seed, label in enumerate(labels)]
    (root / "x.csv").write_text("path,label,split\n" + "\n".join(rows), encoding="utf-8")
    dataset = load(root / "x.csv")
    assert len(dataset.classes) == 7
    alike, untested = dataset.warnings
    assert ": 3, such as '01' and '1'; 'Cat' and 'cat'; 'cafe\u0301' and 'caf\u00e9'" in alike
    assert "6 of 7" in untested
    assert alike in data.verify_dataset(Data(name="table", root=str(root / "x.csv"))).remarks
    assert load(root / "x.csv", classes=["dog", "cafe\u0301"]).classes == ("cafe\u0301", "dog")


def test_rows_that_repeat_an_image_and_labels_that_are_several(tmp_path: Path) -> None:
    """A list of boxes has a row per box: each image counts once, so that no cut has it on both sides."""
    root = pictures(tmp_path / "x", 8)
    labels = ("cat", "dog", "cat|dog", "cat, dog", "cat", "dog", "cat", "dog")
    rows = [f'{seed}.png,"{label}",{box}\n' for seed, label in enumerate(labels) for box in range(1 + (seed > 3))]
    (root / "x.csv").write_text("path,label,box\n" + "".join(rows))
    dataset = load(root / "x.csv", label_column="label")
    assert labels_by_image(dataset) == dict(enumerate(labels))
    assert any("4 rows that repeat an image" in note and "such as 4.png" in note for note in dataset.notes)
    assert any("several others at once: 2, such as 'cat, dog'" in warning for warning in dataset.warnings)
    assert not any("also train" in warning for warning in dataset.warnings)


def test_a_column_of_splits_and_numbers_as_classes(tmp_path: Path) -> None:
    """The column split says where an image belongs; 10 comes after 9."""
    root = pictures(tmp_path / "x")
    rows = [
        f"{seed}.png,{9 + seed % 2},{'Train' if seed < 6 else 'valid' if seed < 8 else 'test'}" for seed in range(10)
    ]
    (root / "x.csv").write_text("path,label,split\n" + "\n".join(rows))
    dataset = load(root / "x.csv")
    assert dataset.classes == ("9", "10")
    assert dataset.val is not None
    assert [len(split) for split in (dataset.train, dataset.val, dataset.test)] == [6, 2, 2]
    assert dataset.test.images[0].numpy().tobytes() == noise(8).transpose(2, 0, 1).tobytes()


def test_roboflow_and_kaggle(tmp_path: Path) -> None:
    """Roboflow: _classes.csv with a column per class. Kaggle: train.csv, ids in train/, a test list without labels."""
    for split, first in (("train", 0), ("valid", 6)):
        folder = tmp_path / "roboflow" / split
        for seed in range(first, first + 4):
            picture(folder / f"{seed}.png", seed)
        rows = [f"{seed}.png, {1 - seed % 2}, {seed % 2}" for seed in range(first, first + 4)]
        (folder / "_classes.csv").write_text("filename, a, b\n" + "\n".join(rows))
    dataset = load(tmp_path / "roboflow")
    assert labels_by_image(dataset) == {seed: "ab"[seed % 2] for seed in (0, 1, 2, 3, 6, 7, 8, 9)}
    assert len(dataset.test) == 4
    root = tmp_path / "kaggle"
    pictures(root / "train")
    picture(root / "test/3.png", 99)
    (root / "train.csv").write_text("id,target\n" + "".join(f"{seed},{'ab'[seed % 2]}\n" for seed in range(10)))
    (root / "test.csv").write_text("id\n3\n")
    dataset = load(root)
    assert labels_by_image(dataset) == EXPECTED
    assert "test.csv has no labels and is left out" in dataset.notes


def test_columns_by_key(tmp_path: Path) -> None:
    """Unusual names of columns are given by keys; a wrong one is explained."""
    root = pictures(tmp_path / "x")
    rows = "".join(f"{seed}.png,{'ab'[seed % 2]},{seed}\n" for seed in range(10))
    (root / "x.csv").write_text("photo,species,weight\n" + rows)
    keys = {"image_column": "photo", "label_column": "species"}
    assert labels_by_image(load(root / "x.csv", **keys)) == EXPECTED
    with pytest.raises(UserError, match="unknown column: 'spezies'") as caught:
        load(root / "x.csv", **keys | {"label_column": "spezies"})
    assert caught.value.hint == "did you mean 'species'?"


REFUSED: dict[str, tuple[Any, str]] = {
    "no list": (lambda r: None, "no list"),
    "several lists": (lambda r: [(r / n).write_text("0.png,a") for n in ("x.csv", "y.csv")], "several lists: x.csv, y"),
    "empty": (lambda r: (r / "x.csv").write_text(" \n"), "no lines"),
    "a header only": (lambda r: (r / "x.csv").write_text("path,label\n"), "no images"),
    "bytes": (lambda r: (r / "x.csv").write_bytes(b"\x89\0"), "not a text file"),
    "latin-1": (lambda r: (r / "x.csv").write_bytes(b"0.png,a\n1.png,\xe9"), "not in UTF-8 (the byte 0xe9 in line 2)"),
    "one file by two paths": (lambda r: (r / "x.csv").write_text("a/0.png,a\nb/0.png,b"), "both mean 0.png"),
    "a missing image": (lambda r: (r / "x.csv").write_text("0.png,a\n77.png,b"), "1 of 2 images not there: 77.png"),
    "a path that no file can have": (lambda r: (r / "x.csv").write_text(f"0.png,a\n{'x/' * 3000},b"), "not there: x/x"),
    "a row without a label": (lambda r: (r / "x.csv").write_text("path,label\n0.png,\n1.png,b"), "the first is row 1"),
    "a short row": (lambda r: (r / "x.csv").write_text("path,label\n0.png\n"), "line 2 has another number"),
    "several labels": (lambda r: (r / "x.csv").write_text("path,a,b\n0.png,1,1\n"), "no class or several"),
    "JSON of another kind": (lambda r: (r / "x.csv").write_text('{"images": [], "annotations": []}'), "COCO"),
    "JSON without a mapping": (lambda r: (r / "x.jsonl").write_text("123"), "JSON without a mapping"),
    "the delimiter only": (lambda r: (r / "x.csv").write_text("sep=;\n"), "no lines in it but"),
    "one class": (lambda r: (r / "x.csv").write_text("0.png,a\n1.png,a"), "at least two classes"),
    "two files": (
        lambda r: [picture(r / f"{f}/9.jpg", 1) for f in "ab"] and (r / "x.csv").write_text("9.jpg,a\n1.png,b"),
        "'9.jpg' may be a/9.jpg, b/9.jpg",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_wrong_is_named(tmp_path: Path, kind: str) -> None:
    """One line with the list and the place, and a hint."""
    make, expected_text = REFUSED[kind]
    root = pictures(tmp_path / "x", 2)
    make(root)
    with pytest.raises(UserError) as caught:
        load(root)
    assert expected_text in caught.value.problem
    assert caught.value.hint


def test_rows_without_their_images(tmp_path: Path) -> None:
    """They are refused, or left out by choice and named; the labels of the others stay with their images."""
    pictures(tmp_path / "x")
    rows = "".join(f"{i}.png,{'ab'[i % 2]}\n" for i in (99, *range(10), 98))
    (tmp_path / "x" / "x.csv").write_text(f"path,label\n{rows}")
    with pytest.raises(UserError, match=r"2 of 12 images not there: 99\.png, 98\.png") as caught:
        load(tmp_path / "x")
    assert "data.bad=skip" in caught.value.hint
    dataset = load(tmp_path / "x", bad="skip")
    assert labels_by_image(dataset) == EXPECTED
    assert any("99.png, 98.png" in note for note in dataset.notes)


@pytest.mark.parametrize("column", ["is_test", "fold", "Usage", "kfold_5"])
def test_a_column_that_seems_to_tell_splits_is_named(tmp_path: Path, column: str) -> None:
    """It is not read, and a fifth of all rows is the test set: the user must know; `testimony` tells none."""
    pictures(tmp_path / "x")
    rows = "".join(f"{i}.png,{'ab'[i % 2]},{i % 5},x\n" for i in range(10))
    (tmp_path / "x" / "x.csv").write_text(f"path,label,{column},testimony\n{rows}")
    notes = [note for note in load(tmp_path / "x").notes if "not used" in note]
    assert [f"'{column}'" in note for note in notes] == [True]
    assert "testimony" not in notes[0]
