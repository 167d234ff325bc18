"""The properties that the files of the datasets state, and the promise that a new file is all it takes."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from attncli import data, dataset_catalog
from attncli.data.registry import choose_shown_share
from attncli.dataset_catalog import find_properties, has_origin, list_by_property, list_datasets
from attncli.errors import UserError
from attncli.recipe import Data
from tests.shared import ROOT

NEW_DATASET = '''"""Three stripes, 4x4, 2 classes; made up."""

import torch

from attncli.data.dataset import DatasetSource
from attncli.data.paths import DataPaths
from attncli.data.readers.in_memory import make_memory_split
from attncli.recipe import Data

ORIGIN = "{origin}"
CLASS_COUNT = 2
SIDE = 4


def read(data: Data, paths: DataPaths) -> DatasetSource:
    """Return the stripes."""
    images = torch.arange(20, dtype=torch.uint8).view(20, 1, 1).expand(-1, 4, 4)
    split = make_memory_split(images, torch.arange(20) % 2, data.image_size)
    return DatasetSource(("odd", "even"), split, split, origin="a test")
'''


@pytest.mark.parametrize("name", list_datasets())
def test_every_dataset_states_its_properties(name: str) -> None:
    """Origin and constants can be read; what is downloaded or requested says which files make it complete."""
    properties = find_properties(name)
    assert properties is not None
    assert bool(properties.holds) == (properties.origin in ("download", "request"))
    fixed = properties.origin in ("embedded", "download", "request")
    assert (properties.class_count is not None) == fixed


def test_properties_by_name() -> None:
    """The values of some datasets; unknown names have none."""
    assert has_origin("folder", "user")
    assert has_origin("hf", "user", "hub")
    assert not has_origin("digits", "user")
    assert not has_origin("nothing", "user")
    assert not has_origin(None, "user")
    assert find_properties("../errors") is None
    assert list_by_property(printed_name="CIFAR-10") == ("cifar10",)
    assert set(list_by_property(grey_on_black=True)) == {"digits", "fashion-mnist", "mnist"}


def test_datasets_in_memory_are_those_without_files(tmp_path: Path) -> None:
    """What evaluation shows of an image depends on it: files are cut to data.centre, arrays are not."""
    reads_arrays = re.compile("make_memory_split|torchvision_sets").search
    paths = {name: dataset_catalog.DATASETS_FOLDER / f"{name.replace('-', '_')}.py" for name in list_datasets()}
    in_memory = [name for name, path in paths.items() if reads_arrays(path.read_text("utf-8"))]
    assert list_by_property(in_memory=True) == tuple(in_memory)
    resized = Data(crop="resized", centre=0.5)
    shares = {name: choose_shown_share(resized.model_copy(update={"name": name})) for name in ("cifar10", "folder")}
    assert shares == {"cifar10": 1.0, "folder": 0.5}
    assert choose_shown_share(resized.model_copy(update={"name": "cluttered", "of": "mnist"})) == 1.0
    assert choose_shown_share(Data(name="folder")) == 1.0
    notes = {centre: data.load(Data(crop="resized", centre=centre), cache=tmp_path).notes for centre in (0.875, 0.5)}
    assert not any("data.centre" in note for note in notes[0.875])
    assert any("data.centre has no effect: images of digits are shown whole" in note for note in notes[0.5])


def test_class_counts_are_those_of_the_images(tmp_path: Path) -> None:
    """Loading a dataset that needs no files gives the number of classes and the side that its file states."""
    for name in list_by_property(origin="embedded"):
        properties, dataset = find_properties(name), data.load(Data(name=name), cache=tmp_path)
        assert properties is not None
        assert properties.class_count == len(dataset.classes)
        assert (properties.side, properties.side) == dataset.size


def test_a_wrong_origin_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file and the allowed values are named."""
    (tmp_path / "x.py").write_text(NEW_DATASET.format(origin="elsewhere"))
    monkeypatch.setattr(dataset_catalog, "DATASETS_FOLDER", tmp_path)
    monkeypatch.setattr(dataset_catalog, "list_datasets", lambda: {"x": ""})
    with pytest.raises(UserError, match="elsewhere") as caught:
        dataset_catalog.find_properties.__wrapped__("x")
    assert "download" in caught.value.hint


def test_a_new_file_is_a_new_dataset(tmp_path: Path) -> None:
    """In a copy of the package with one file more, `data ls`, `check` and loading know the dataset."""
    shutil.copytree(ROOT / "attncli", tmp_path / "attncli", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "attncli/data/datasets/three_stripes.py").write_text(NEW_DATASET.format(origin="user"))
    (tmp_path / "r.yaml").write_text("data: {name: three-stripes, root: .}\n")

    def run(*words: str) -> str:
        code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); sys.argv[1:] = {list(words)!r}\n"
        code += "from attncli.__main__ import main; main()"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    rows = {row["name"]: row for row in json.loads(run("data", "ls", "--json"))}
    assert rows.keys() == {*list_datasets(), "three-stripes"}
    assert rows["three-stripes"]["what"] == "Three stripes, 4x4, 2 classes; made up."
    assert rows["three-stripes"]["files"] == rows["folder"]["files"]
    run("check", "r.yaml")
    shown = json.loads(run("data", "prepare", "--recipe", "r.yaml", "--runs", str(tmp_path / "runs"), "--json"))
    assert (shown["classes"], shown["size"]) == (2, [4, 4])
