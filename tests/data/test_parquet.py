"""Images in Parquet files, and datasets of the hub through a stand-in for its library."""

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from attncli import data, validation
from attncli.data.dataset import Dataset
from attncli.errors import UserError
from attncli.recipe import Data
from tests.data.image_fixtures import noise


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
        (lambda r: (r.mkdir(), (r / "x.parquet").write_text("no")), "not a Parquet file"),
        (lambda r: write(r / "x.parquet", [0, None]), "rows without a label"),
        (lambda r: write(r / "x.parquet", [0, 2], names=["a", "b"]), "label 2, but names for 2 classes"),
        (lambda r: write(r / "x.parquet", [0, 0], names=["a", "b"]), "no images of 'b'"),
        (lambda r: (write(r / "test.parquet", [0, 1]), write(r / "valid.parquet", [0, 1])), "no file of the training"),
        (lambda r: (r.mkdir(), pq.write_table(pa.table({"image": [1.0], "label": [0]}), r / "x.parquet")),
         "no column 'image'"),
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
    """Images and class labels are found by their kind, whatever the columns are called; the name is identity."""
    library = SimpleNamespace(Image=Pictures, ClassLabel=Labels)
    tables = {"train": Table(8, library, "a1"), "validation": Table(4, library, "b2")}
    library.load_dataset = lambda name, cache_dir: tables if name == "me/pets" else {"other": None}
    monkeypatch.setitem(sys.modules, "datasets", library)
    recipe = Data(name="hf", of="me/pets", val_fraction=0.0)
    dataset = data.load(recipe, cache=tmp_path / "cache")
    assert dataset.classes == ("cat", "dog")
    assert dataset.train.labels.tolist() == [0] * 4 + [1] * 4
    assert np.array_equal(dataset.test.images[3].numpy(), noise(3).transpose(2, 0, 1))
    with pytest.raises(UserError, match="'train'"):
        data.load(Data(name="hf", of="me/others"), cache=tmp_path / "cache")
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
