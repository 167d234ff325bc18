"""Images in Parquet files, and datasets of the hub through a stand-in for its library."""

import base64
import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from attncli import data, validation
from attncli.data.dataset import Dataset
from attncli.data.readers.columns import ColumnNames
from attncli.data.readers.parquet import list_parquet
from attncli.data.readers.split_names import read_split_place
from attncli.errors import UserError
from attncli.recipe import Data
from tests.data.image_fixtures import noise, picture


def png(seed: int) -> bytes:
    """An image's file."""
    out = io.BytesIO()
    Image.fromarray(noise(seed)).save(out, "PNG")
    return out.getvalue()


def write(path: Path, labels: list[Any], first: int = 0, names: list[str] | None = None, column: str = "image") -> Path:
    """A file of images whose seeds count up, in groups of two rows, with the classes' names in the schema."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [{"bytes": png(first + i), "path": f"{i}.png"} for i in range(len(labels))]
    schema_info = {"info": {"features": {column: {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": names}}}}
    table = pa.table({column: cells, "label": labels, "size": [1.0] * len(labels)})
    if names:
        table = table.replace_schema_metadata({"huggingface": json.dumps(schema_info)})
    pq.write_table(table, path, row_group_size=2)
    return path


def load(tmp_path: Path, root: Path, **keys: object) -> Dataset:
    """The Parquet files as a dataset, nothing held out."""
    recipe = Data.model_validate({"name": "parquet", "root": str(root), "val_fraction": 0.0, **keys})
    return data.load(recipe, cache=tmp_path / "cache")


def test_parts_by_name_and_classes_by_schema(tmp_path: Path) -> None:
    """Two files of training images and one of test images, in the layout of the hub."""
    write(tmp_path / "x/data/train-00000-of-00002.parquet", [1, 0, 1], 0, ["cat", "dog"])
    write(tmp_path / "x/data/train-00001-of-00002.parquet", [0, 0], 3, ["cat", "dog"])
    write(tmp_path / "x/data/test-00000-of-00001.parquet", [0, 1], 10, ["cat", "dog"])
    dataset = load(tmp_path, tmp_path / "x")
    assert dataset.classes == ("cat", "dog")
    expected = np.stack([noise(s).transpose(2, 0, 1) for s in (1, 3, 4, 0, 2)])
    assert np.array_equal(dataset.train.images.numpy(), expected)
    assert dataset.train.labels.tolist() == [0, 0, 0, 1, 1]
    assert np.array_equal(dataset.test.images[1].numpy(), noise(11).transpose(2, 0, 1))


def test_one_file_is_cut(tmp_path: Path) -> None:
    """Of a file without parts a fifth of each class, always the same, is the test set; no image is in both."""
    path = write(tmp_path / "all.parquet", [0, 1] * 10, names=["cat", "dog"], column="img")
    dataset = load(tmp_path, path)
    assert dataset.train.labels.bincount().tolist() == [8, 8]
    assert dataset.test.labels.bincount().tolist() == [2, 2]
    both = [{i.numpy().tobytes() for i in part.images} for part in (dataset.train, dataset.test)]
    assert not both[0] & both[1]
    assert load(tmp_path, path).digest == dataset.digest


@pytest.mark.parametrize("start", ["", "data:image/png;base64,"])
def test_images_in_base64(tmp_path: Path, start: str) -> None:
    """A text that is an image in base64 is that image, also beside paths, and a change of the table is seen."""
    path = tmp_path / "x.parquet"
    picture(tmp_path / "5.png", 5)

    def write_texts(seeds: list[int]) -> None:
        cells = [start + base64.b64encode(png(seed)).decode() for seed in seeds]
        pq.write_table(pa.table({"image": [*cells, "5.png"], "label": [*("ab" * len(seeds))[: len(seeds)], "b"]}), path)

    write_texts([0, 1, 2, 3, 4])
    _, listings, _ = list_parquet(path)
    dataset = load(tmp_path, path)
    images = {image.numpy().tobytes() for split in (dataset.train, dataset.test) for image in split.images}
    assert images == {noise(seed).transpose(2, 0, 1).tobytes() for seed in range(6)}
    write_texts([0, 1, 2, 3, 7])
    assert list_parquet(path)[1]["train"].files != listings["train"].files
    assert load(tmp_path, path).digest != dataset.digest


PAIRS = [("Train", "Test"), ("train", "dev"), ("training", "testing"), ("TRAIN", "eval"), ("train", "valid")]


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_splits_are_known_in_any_case(tmp_path: Path, first: str, second: str) -> None:
    """The second file is the test set under each of its usual names, and nothing of it is trained on."""
    write(tmp_path / f"x/{first}.parquet", [0, 1] * 4)
    write(tmp_path / f"x/{second}-00000-of-00001.parquet", [0, 1], 50)
    dataset = load(tmp_path, tmp_path / "x")
    assert (len(dataset.train), len(dataset.test)) == (8, 2)
    assert np.array_equal(dataset.test.images[1].numpy(), noise(51).transpose(2, 0, 1))


def test_a_file_of_no_known_split_is_refused(tmp_path: Path) -> None:
    """It is listed with all files; data.unused_splits leaves it out."""
    for i, name in enumerate(("train", "test", "extra")):
        write(tmp_path / f"x/{name}.parquet", [0, 1] * 2, 10 * i)
    with pytest.raises(UserError) as caught:
        load(tmp_path, tmp_path / "x")
    assert "'extra.parquet'" in caught.value.problem
    assert "'test.parquet'" in caught.value.problem
    assert "data.unused_splits=[extra.parquet]" in caught.value.hint
    for unused in (["extra"], ["extra.parquet"]):
        dataset = load(tmp_path, tmp_path / "x", unused_splits=unused)
        assert (len(dataset.train), len(dataset.test)) == (4, 4)


def test_hidden_and_system_folders_are_skipped(tmp_path: Path) -> None:
    """The hub's download folder holds a copy of each file."""
    for folder in ("", ".cache/huggingface/", "__MACOSX/", "@eaDir/"):
        write(tmp_path / f"x/{folder}train.parquet", [0, 1] * 5)
    dataset = load(tmp_path, tmp_path / "x")
    assert (len(dataset.train), len(dataset.test)) == (8, 2)


def test_one_of_several_configurations(tmp_path: Path) -> None:
    """Two folders with the same splits are two datasets: a key chooses one of them."""
    for i, name in enumerate(("cats", "dogs")):
        write(tmp_path / f"x/{name}/train/0000.parquet", [0, 1] * 2, 40 * i)
        write(tmp_path / f"x/{name}/test/0000.parquet", [0, 1], 40 * i + 20)
    with pytest.raises(UserError, match=r"several configurations.*cats, dogs"):
        load(tmp_path, tmp_path / "x")
    with pytest.raises(UserError, match="no configuration 'cows'") as caught:
        load(tmp_path, tmp_path / "x", configuration="cows")
    assert "cats, dogs" in caught.value.hint
    dataset = load(tmp_path, tmp_path / "x", configuration="dogs")
    assert (len(dataset.train), len(dataset.test)) == (4, 2)
    assert np.array_equal(dataset.test.images[0].numpy(), noise(60).transpose(2, 0, 1))
    with pytest.raises(UserError, match=r"data\.configuration"):
        data.load(Data(name="digits", configuration="cats"), cache=tmp_path)


def test_shards_without_a_split_are_one_dataset(tmp_path: Path) -> None:
    """Files that differ in their numbers only are cut together; other names are refused."""
    for i in range(2):
        write(tmp_path / f"x/part-0000{i}-of-00002.parquet", [0, 1] * 5, 10 * i)
    dataset = load(tmp_path, tmp_path / "x")
    assert (len(dataset.train), len(dataset.test)) == (16, 4)
    write(tmp_path / "x/more.parquet", [0, 1], 30)
    with pytest.raises(UserError, match=r"not a known split.*more\.parquet"):
        load(tmp_path, tmp_path / "x")


@pytest.mark.parametrize("values", [("cat", "train dog"), ("9", "10")])
def test_a_table_partitioned_by_its_labels(tmp_path: Path, values: tuple[str, str]) -> None:
    """The label stands in the path, with signs as in an address; numbers are in their order, 9 before 10."""
    for number, value in enumerate(values):
        for split, rows in (("", 5), ("split=test/", 2)):
            path = tmp_path / f"x{len(split)}" / split / f"label={quote(value)}" / "part-0.parquet"
            write(path, [0] * rows, 10 * number + len(split))
            pq.write_table(pq.ParquetFile(path).read().drop_columns(["label"]), path)
    dataset = load(tmp_path, tmp_path / "x0")  # no split: a fifth of each class is cut
    assert dataset.classes == values
    assert dataset.train.labels.tolist() == [0] * 4 + [1] * 4
    (tmp_path / "x0").rename(tmp_path / "x11/split=train")
    dataset = load(tmp_path, tmp_path / "x11")
    assert (len(dataset.train), dataset.test.labels.tolist()) == (10, [0, 0, 1, 1])
    assert np.array_equal(dataset.test.images[2].numpy(), noise(21).transpose(2, 0, 1))
    (tmp_path / "x11/split=train" / f"label={quote(values[0])}").rename(
        tmp_path / "x11/split=train/label=__HIVE_DEFAULT_PARTITION__"
    )
    with pytest.raises(UserError, match="rows have no 'label'"):
        load(tmp_path, tmp_path / "x11")


def test_groups_in_the_path(tmp_path: Path) -> None:
    """A partition is a column as any other; an unknown one is named."""
    for patient in range(10):
        write(tmp_path / f"x/patient={patient}/0.parquet", [0, 1], 2 * patient)
    _, listings, _ = list_parquet(tmp_path / "x", wanted=ColumnNames(group="patient"))
    files, groups = listings["train"].files[1], (listings["train"].groups or ())[1]
    assert len(files) == len(groups) == 10
    assert all(file.path.startswith(f"patient={group}/") for file, group in zip(files, groups, strict=True))
    with pytest.raises(UserError, match=r"data\.group_column") as caught:
        load(tmp_path, tmp_path / "x", group_column="patients")
    assert "'patient'" in caught.value.hint


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("train.parquet", ("train", ".")),
        ("data/Validation-00000-of-00003.parquet", ("val", "data")),
        ("a/b/testing/0000.parquet", ("test", "a/b")),
        ("train_test_split/dev.parquet", ("val", "train_test_split")),
        ("test/train-0.parquet", (None, "test")),
        ("retrain.parquet", (None, ".")),
        ("train2017.parquet", ("train", ".")),
        ("constrained/latest.parquet", (None, "constrained")),
    ],
)
def test_split_places(path: str, expected: tuple[str | None, str]) -> None:
    """Whole words count, a component with two splits says nothing, and components that disagree say nothing."""
    assert read_split_place(path) == expected


def test_labels_as_texts_and_resized_crops(tmp_path: Path) -> None:
    """Texts name the classes; whole images can be read from the rows too."""
    write(tmp_path / "x/train.parquet", ["b", "a", "b", "a"])
    write(tmp_path / "x/validation.parquet", ["a", "b"], 20)
    dataset = load(tmp_path, tmp_path / "x", crop="resized", image_size=8)
    assert dataset.classes == ("a", "b")
    assert dataset.train.whole_images is not None
    assert np.array_equal(dataset.train.whole_images.read(2), noise(0))


@pytest.mark.parametrize(
    ("make", "expected_text"),
    [
        (lambda r: r.mkdir(), "no Parquet file"),
        (lambda r: (r.mkdir(), (r / "x.parquet").write_text("no")), "not a readable Parquet file"),
        (lambda r: write(r / "x.parquet", [0, None]), "1 row without a label"),
        (lambda r: write(r / "x.parquet", [0, 2], names=["a", "b"]), "label 2, but names for 2 classes"),
        (lambda r: write(r / "x.parquet", [0, 0], names=["a", "b"]), "at least two"),
        (lambda r: (write(r / "test.parquet", [0, 1]), write(r / "valid.parquet", [0, 1])), "no file of the training"),
        (lambda r: (r.mkdir(), pq.write_table(pa.table({"image": [1.0], "label": [0]}), r / "x.parquet")),
         "the column 'image' holds no images but double"),
        (lambda r: (r.mkdir(), pq.write_table(pa.table({"x": [1.0], "label": [0]}), r / "x.parquet")),
         "no column 'image'"),
        (lambda r: (r.mkdir(), pq.write_table(pa.table({"image": ["A" * 999] * 2, "label": [0, 1]}), r / "x.parquet")),
         f"its path {'A' * 80} is no file"),
        (lambda r: (r.mkdir(), pq.write_table(pa.table({"image": [{"bytes": b"no"}] * 2, "label": [0, 1]}),
                                              r / "x.parquet")), "none of the files"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(tmp_path: Path, make: Any, expected_text: str) -> None:
    """One line that names the file, with a hint."""
    make(tmp_path / "x")
    with pytest.raises(UserError) as caught:
        load(tmp_path, tmp_path / "x")
    assert expected_text in caught.value.problem
    assert "\n" not in caught.value.problem
    assert caught.value.hint


def test_a_bad_row_is_named(tmp_path: Path) -> None:
    """A row that holds no image is named by its number."""
    cells = [{"bytes": png(0)}, {"bytes": b"no"}, {"bytes": None}, {"bytes": png(1)}]
    pq.write_table(pa.table({"image": cells, "label": [0, 1, 0, 1]}), tmp_path / "x.parquet")
    with pytest.raises(UserError) as caught:
        load(tmp_path, tmp_path / "x.parquet", fraction=1.0)
    assert "x.parquet#1 (not an image)" in caught.value.problem
    assert "x.parquet#2 (no bytes in its row)" in caught.value.problem


def save(path: Path, image: Any, label: Any, **more: Any) -> Path:
    """Write a Parquet file of two columns, and more."""
    try:
        pq.write_table(pa.table({"image": image, "label": label, **more}), path)
    except pa.ArrowNotImplementedError as error:
        pytest.skip(f"pyarrow {pa.__version__} writes no such column: {error}")
    return path


CELLS = [{"bytes": png(i), "path": f"{i}.png"} for i in range(8)]
PLAIN = [cell["bytes"] for cell in CELLS]
LABELS = {
    "int8": (pa.array([0, 1] * 4, pa.int8()), ("0", "1")),
    "uint64": (pa.array([0, 1] * 4, pa.uint64()), ("0", "1")),
    "from 1": (pa.array([1, 2] * 4), ("1", "2")),
    "large": (pa.array([7, 10**12] * 4), ("7", "1000000000000")),
    "order of numbers": (pa.array([9, 10] * 4), ("9", "10")),
    "bool": (pa.array([False, True] * 4), ("false", "true")),
    "float": (pa.array([0.0, 1.0] * 4), ("0", "1")),
    "half": (pa.array(np.array([0, 1] * 4, np.float16)), ("0", "1")),
    "string": (pa.array(["a", "b"] * 4), ("a", "b")),
    "large_string": (pa.array(["a", "b"] * 4, pa.large_string()), ("a", "b")),
    "string_view": (pa.array(["a", "b"] * 4, pa.string_view()), ("a", "b")),
    "dictionary": (pa.array(["a", "b"] * 4).dictionary_encode(), ("a", "b")),
    "dictionary of numbers": (pa.array([1, 2] * 4).dictionary_encode(), ("1", "2")),
}
IMAGES = {
    "struct": pa.array(CELLS),
    "struct of large_binary": pa.array(CELLS, pa.struct([("bytes", pa.large_binary()), ("path", pa.string())])),
    "binary": pa.array(PLAIN),
    "large_binary": pa.array(PLAIN, pa.large_binary()),
    "binary_view": pa.array(PLAIN, pa.binary_view()),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_of_any_type(tmp_path: Path, kind: str) -> None:
    """Every type of label gives the right class to the right image, in the order of numbers or texts."""
    labels, classes = LABELS[kind]
    dataset = load(tmp_path, save(tmp_path / "x.parquet", pa.array(CELLS), labels))
    assert dataset.classes == classes
    kept = {bytes(image.numpy().tobytes()): int(label) for image, label in zip(*read_all(dataset), strict=True)}
    assert kept == {noise(i).transpose(2, 0, 1).tobytes(): i % 2 for i in range(8)}


def read_all(dataset: Dataset) -> tuple[list[Any], list[Any]]:
    """All images and labels, those of training first."""
    return [*dataset.train.images, *dataset.test.images], [*dataset.train.labels, *dataset.test.labels]


@pytest.mark.parametrize("kind", IMAGES)
def test_images_of_any_type(tmp_path: Path, kind: str) -> None:
    """Bytes are images, in a struct or plain."""
    dataset = load(tmp_path, save(tmp_path / "x.parquet", IMAGES[kind], [0, 1] * 4))
    assert {i.numpy().tobytes() for i in read_all(dataset)[0]} == {
        noise(i).transpose(2, 0, 1).tobytes() for i in range(8)
    }


@pytest.mark.parametrize("as_struct", [True, False])
def test_paths_in_place_of_bytes(tmp_path: Path, as_struct: bool) -> None:
    """Paths are relative to the Parquet file; a changed image is seen, and a missing one is named."""
    paths = [str(picture(tmp_path / f"images/{i}.png", i).relative_to(tmp_path)) for i in range(8)]
    cells = pa.array([{"bytes": None, "path": p} for p in paths], IMAGES["struct"].type) if as_struct else paths
    root = save(tmp_path / "x.parquet", cells, [0, 1] * 4)
    first = load(tmp_path, root)
    assert {i.numpy().tobytes() for i in read_all(first)[0]} == {
        noise(i).transpose(2, 0, 1).tobytes() for i in range(8)
    }
    picture(tmp_path / "images/0.png", 99)
    assert load(tmp_path, root).digest != first.digest
    (tmp_path / "images/3.png").unlink()
    with pytest.raises(UserError, match=r"x.parquet#3 \(no bytes in its row, and its path images/3.png is no file\)"):
        load(tmp_path, root)


def test_names_of_classes_come_from_each_file(tmp_path: Path) -> None:
    """Labels are matched by the names in each file's own schema; a class without images is left out."""
    write(tmp_path / "x/train.parquet", [0, 1, 0, 1], 0, ["cat", "dog", "cow"])
    write(tmp_path / "x/test.parquet", [0, 1], 10, ["dog", "cat", "cow"])
    dataset = load(tmp_path, tmp_path / "x")
    assert dataset.classes == ("cat", "dog")
    assert np.array_equal(dataset.test.images[0].numpy(), noise(11).transpose(2, 0, 1))
    assert load(tmp_path, tmp_path / "x", classes=["cat", "dog"]).digest == dataset.digest


def test_labels_from_1_with_names(tmp_path: Path) -> None:
    """With k names, labels from 1 to k count from 1."""
    write(tmp_path / "x/train.parquet", [1, 2, 1, 2], 0, ["cat", "dog"])
    write(tmp_path / "x/test.parquet", [2, 1], 10, ["cat", "dog"])
    dataset = load(tmp_path, tmp_path / "x")
    assert dataset.classes == ("cat", "dog")
    assert np.array_equal(dataset.test.images[0].numpy(), noise(11).transpose(2, 0, 1))


def test_the_first_label_is_that_of_all_files(tmp_path: Path) -> None:
    """A shard or a split may lack the last of the classes that count from 1: its labels mean the same nevertheless."""
    names = ["cat", "dog", "owl"]
    write(tmp_path / "x/train-00000-of-00002.parquet", [1, 1, 2], 0, names)
    write(tmp_path / "x/train-00001-of-00002.parquet", [2, 3, 3], 3, names)
    write(tmp_path / "x/test.parquet", [2, 1], 10, names)
    dataset = load(tmp_path, tmp_path / "x")
    assert dataset.classes == tuple(names)
    assert dataset.train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert np.array_equal(dataset.train.images[2].numpy(), noise(2).transpose(2, 0, 1))
    assert dataset.test.labels.tolist() == [0, 1]
    assert np.array_equal(dataset.test.images[0].numpy(), noise(11).transpose(2, 0, 1))


def test_columns_by_key(tmp_path: Path) -> None:
    """CIFAR-100 of the hub has two columns of labels: one is named, and a wrong name is explained."""
    root = tmp_path / "x.parquet"
    pq.write_table(pa.table({"img": CELLS, "fine_label": [0, 1, 2, 3] * 2, "coarse_label": [0, 0, 1, 1] * 2}), root)
    with pytest.raises(UserError, match="fine_label, coarse_label") as caught:
        load(tmp_path, root)
    assert "data.label_column=" in caught.value.hint
    assert len(load(tmp_path, root, label_column="fine_label").classes) == 4
    assert len(load(tmp_path, root, label_column="coarse_label", image_column="img").classes) == 2
    with pytest.raises(UserError, match=r"data\.label_column: unknown column") as caught:
        load(tmp_path, root, label_column="fine_labels")
    assert caught.value.hint == "did you mean 'fine_label'?"
    with pytest.raises(UserError, match="holds no images"):
        load(tmp_path, root, image_column="fine_label", label_column="coarse_label")


@pytest.mark.parametrize(
    "metadata", [b"no JSON", b"[1]", b'{"info": []}', b'{"info": {"features": {"label": {"names": 3}}}}', b"\xff"]
)
def test_foreign_metadata_says_nothing(tmp_path: Path, metadata: bytes) -> None:
    """Metadata of another form than Hugging Face's is passed over."""
    table = pa.table({"image": CELLS, "label": [0, 1] * 4}).replace_schema_metadata({b"huggingface": metadata})
    pq.write_table(table, tmp_path / "x.parquet")
    assert load(tmp_path, tmp_path / "x.parquet").classes == ("0", "1")


WRONG_LABELS = {
    "half a number": (pa.array([0.0, 0.5] * 4), "the label 0.5 is no class number"),
    "not a number": (pa.array([0.0, float("nan")] * 4), "4 rows without a label, the first is row 1"),
    "hidden": (pa.array([-1] * 8), "8 rows without a label, the first is row 0"),
    "blank": (pa.array(["a", " "] * 4), "4 rows without a label"),
    "lists": (pa.array([[0], [1]] * 4), "the column 'label' holds no labels but list"),
    "not UTF-8": (pa.array([b"\xff", b"a"] * 4).view(pa.string()), "the labels cannot be read"),
    "a line break": (pa.array(["a\nb", "c"] * 4), "must be one line"),
}


@pytest.mark.parametrize("kind", WRONG_LABELS)
def test_labels_that_mean_nothing_are_refused(tmp_path: Path, kind: str) -> None:
    """One line with the file and the reason, and a hint."""
    labels, expected_text = WRONG_LABELS[kind]
    with pytest.raises(UserError) as caught:
        load(tmp_path, save(tmp_path / "x.parquet", pa.array(CELLS), labels))
    assert expected_text in caught.value.problem
    assert "x.parquet" in caught.value.problem
    assert caught.value.hint


@pytest.mark.parametrize("empty", ["train", "test"])
def test_a_split_without_rows(tmp_path: Path, empty: str) -> None:
    """An empty table is named, by loading and by verifying."""
    (tmp_path / "x").mkdir()
    for split in ("train", "test"):
        count = 0 if split == empty else 8
        save(tmp_path / f"x/{split}.parquet", IMAGES["struct"][:count], pa.array([0, 1] * 4)[:count])
    with pytest.raises(UserError, match=f"no images in the split {empty}"):
        load(tmp_path, tmp_path / "x")
    report = data.verify_dataset(Data(name="parquet", root=str(tmp_path / "x")))
    assert any(empty in problem for problem in report.problems)


class Table:
    """What attncli uses of the library's Dataset."""

    def __init__(self, count: int, library: Any, mark: str) -> None:
        self.features = {"picture": library.Image(), "kind": library.ClassLabel(["cat", "dog"])}
        self.count, self._fingerprint = count, mark

    def cast_column(self, name: str, kind: Any) -> "Table":
        """The same, undecoded."""
        assert name == "picture"
        assert kind.decode is False
        return self

    def __getitem__(self, key: Any) -> Any:
        if key == "kind":
            return [i % 2 for i in range(self.count)]
        return {"picture": {"bytes": png(key), "path": None}}


class Pictures:
    """The library's Image."""

    def __init__(self, decode: bool = True) -> None:
        self.decode = decode


class Labels:
    """The library's ClassLabel."""

    def __init__(self, names: list[str]) -> None:
        self.names = names


def test_a_dataset_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images and class labels are found by their kind, decoded once, whatever the folder; the name is identity."""
    library = SimpleNamespace(Image=Pictures, ClassLabel=Labels)
    tables = {"train": Table(8, library, "a1"), "validation": Table(4, library, "b2")}
    more_tables = tables | {"test": Table(2, library, "c3"), "extra": Table(2, library, "d4")}
    repositories = {("me/pets", None): tables, ("me/others", None): {"Dev": None}, ("me/pets", "large"): more_tables}
    library.load_dataset = lambda path, cache_dir, name=None: repositories[path, name]
    monkeypatch.setitem(sys.modules, "datasets", library)
    recipe = Data(name="hf", of="me/pets", val_fraction=0.0)
    dataset = data.load(recipe, cache=tmp_path / "cache")
    assert dataset.classes == ("cat", "dog")
    assert dataset.train.labels.tolist() == [0] * 4 + [1] * 4
    assert np.array_equal(dataset.test.images[3].numpy(), noise(3).transpose(2, 0, 1))
    entries = sorted((tmp_path / "cache").glob("*.bin"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    data.load(recipe, cache=tmp_path / "cache")
    assert sorted((tmp_path / "cache").glob("*.bin")) == entries
    with pytest.raises(UserError, match="'train'"):
        data.load(Data(name="hf", of="me/others"), cache=tmp_path / "cache")
    with pytest.raises(UserError, match="not a known split: 'extra'; it has 'extra', 'test', 'train', 'validation'"):
        data.load(Data(name="hf", of="me/pets", configuration="large"), cache=tmp_path / "cache")
    large = Data(name="hf", of="me/pets", configuration="large", unused_splits=["extra"])
    dataset = data.load(large, cache=tmp_path / "cache")
    assert dataset.val is not None
    assert [len(split) for split in (dataset.train, dataset.val, dataset.test)] == [8, 4, 2]
    digests = {
        validation.read(None, ["data.name=hf", f"data.of={name}"]).compute_digest() for name in ("me/pets", "me/cars")
    }
    assert len(digests) == 2


def test_the_hub_needs_a_name_and_its_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without data.of, and without the library, a line says what to do."""
    with pytest.raises(UserError, match=r"data\.of") as caught:
        data.load(Data(name="hf"), cache=tmp_path)
    assert "USER/NAME" in caught.value.hint
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match="needs the library") as caught:
        data.load(Data(name="hf", of="me/pets"), cache=tmp_path)
    assert "attncli[hf]" in caught.value.hint


def test_a_column_tells_the_split_of_each_row(tmp_path: Path) -> None:
    """As a CSV has it; where it is the column of labels it is none, and a column that only seems one is named."""
    words = pa.array(["train", "test", "train", "train", "test", "train"]).dictionary_encode()
    images = [{"bytes": png(i)} for i in range(6)]
    labels = [0, 1, 1, 0, 0, 1]
    root = tmp_path / "x.parquet"
    pq.write_table(pa.table({"image": images, "label": labels, "Split": words}), root)
    dataset = load(tmp_path, root)
    assert (len(dataset.train), dataset.test.labels.tolist()) == (4, [0, 1])
    assert np.array_equal(dataset.test.images[0].numpy(), noise(4).transpose(2, 0, 1))
    assert [len(part) for part in (load(tmp_path, root, label_column="Split").train,)] == [4]
    pq.write_table(pa.table({"image": images, "label": labels, "is_test": labels}), root)
    assert any("'is_test'" in note for note in load(tmp_path, root).notes)
    pq.write_table(pa.table({"image": images, "label": labels, "split": ["train"] * 5 + ["holdout"]}), root)
    with pytest.raises(UserError, match="'holdout'"):
        load(tmp_path, root)
    assert len(load(tmp_path, root, unused_splits=["holdout"]).test) == 2


def test_a_shard_without_rows_changes_nothing(tmp_path: Path) -> None:
    """Spark and dask write empty ones: the columns of splits and of groups count nevertheless."""
    table = pa.table({"image": CELLS, "label": [0, 1] * 4, "patient": list("aabbccdd")})
    splits = table.append_column("split", pa.array(["train"] * 4 + ["test"] * 4))
    for name, rows in (("x", splits), ("y", table)):
        (tmp_path / name).mkdir()
        for number, part in enumerate((rows.slice(0, 0), rows)):
            pq.write_table(part, tmp_path / name / f"part-{number}.parquet")
    dataset = load(tmp_path, tmp_path / "x")
    assert (len(dataset.train), len(dataset.test)) == (4, 4)
    _, listings, _ = list_parquet(tmp_path / "y", wanted=ColumnNames(group="patient"))
    assert listings["train"].groups == (tuple("abcd"),) * 2


def test_a_split_in_a_linked_folder_is_read(tmp_path: Path) -> None:
    """A test split that is elsewhere is not replaced by a fifth of the training images."""
    write(tmp_path / "x/train/0.parquet", [0, 1] * 5)
    write(tmp_path / "elsewhere/0.parquet", [0, 1], 20)
    (tmp_path / "x/test").symlink_to(tmp_path / "elsewhere")
    dataset = load(tmp_path, tmp_path / "x")
    assert (len(dataset.train), len(dataset.test)) == (10, 2)
