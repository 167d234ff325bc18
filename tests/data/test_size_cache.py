"""How large a dataset is after its cut, noted for plans."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from attncli import data
from attncli.data.size_cache import save_size
from attncli.recipe import Data


def test_what_was_read_is_known(tmp_path: Path) -> None:
    """Numbers of images, classes and size, as the dataset has them; by what decides them and not by its crops."""
    asked = Data(name="digits", fraction=0.5, classes=4)
    images = data.load(asked, cache=tmp_path)
    size = data.load_size(tmp_path, asked.model_copy(update={"pad": 3, "flip": True, "root": "elsewhere"}))
    assert images.val is not None
    assert size == data.DatasetSize(
        train=len(images.train), val=len(images.val), test=len(images.test), images=(4, 8, 8, None)
    )
    for other in ({"fraction": 0.4}, {"classes": 5}, {"val_fraction": 0.2}, {"image_size": 16}, {"test_per_class": 2}):
        assert data.load_size(tmp_path, asked.model_copy(update=other)) is None


def test_a_folder_that_has_changed_is_noted_anew(tmp_path: Path) -> None:
    """The latest reading counts."""
    asked = Data(name="digits")
    images = data.load(asked, cache=tmp_path)
    save_size(tmp_path, asked, replace(images, val=None))
    size = data.load_size(tmp_path, asked)
    assert size is not None
    assert size.val == 0


@pytest.mark.parametrize("text", ["", "[]", "{}", json.dumps({"train": 1}), json.dumps({"images": [1]})])
def test_a_damaged_note_is_none(tmp_path: Path, text: str) -> None:
    """It says nothing, and is replaced."""
    asked = Data(name="digits")
    data.load(asked, cache=tmp_path)
    (file,) = tmp_path.glob("*.extent")
    file.write_text(text)
    assert data.load_size(tmp_path, asked) is None
    data.load(asked, cache=tmp_path)
    assert data.load_size(tmp_path, asked) is not None


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    """The digits need no cache; a file in its place only leaves plans without the extent."""
    (tmp_path / "cache").write_text("")
    assert len(data.load(Data(name="digits"), cache=tmp_path / "cache").train)
    assert data.load_size(tmp_path / "cache", Data(name="digits")) is None
