"""The lines of Python in `attncli help data` that bring other layouts into a form that is read."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torchvision.datasets
from PIL import Image

from attncli import data
from attncli.recipe import Data
from tests.data.image_fixtures import noise, picture

TOPIC = Path(data.__file__).parents[1] / "help" / "data.md"
SNIPPETS = re.findall(r"```python\n(.*?)```", TOPIC.read_text(), re.DOTALL)
COUNT = 6  # images; the class is the number modulo 2, the split by thirds


def make_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    """A class of torchvision with six images."""
    splits = {"train": range(2), "val": range(2, 4), "test": range(4, 6)}

    def read(root: str, split: str, download: bool) -> list[tuple[Image.Image, int]]:
        return [(Image.fromarray(noise(i)), i % 2) for i in splits[split]]

    monkeypatch.setattr(torchvision.datasets, "Flowers102", read)


def make_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    """MedMNIST's file."""
    arrays: dict[str, Any] = {}
    for number, split in enumerate(("train", "val", "test")):
        seeds = (2 * number, 2 * number + 1)
        arrays |= {f"{split}_images": np.stack([noise(i) for i in seeds]), f"{split}_labels": [[i % 2] for i in seeds]}
    np.savez("pathmnist.npz", **arrays)


def make_named_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kaggle's cats and dogs."""
    for i in range(COUNT):
        picture(Path(f"train/class00{i % 2}.{i}.png"), i).rename(f"train/class00{i % 2}.{i}.jpg")


def make_numbered_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    """CUB's three lists."""
    for i in range(COUNT):
        picture(Path(f"images/c{i % 2}/{i}.png"), i)
    rows = {"images.txt": "c{1}/{0}.png", "image_class_labels.txt": "class00{1}", "train_test_split.txt": "{2}"}
    for name, form in rows.items():
        Path(name).write_text("".join(f"{i} {form.format(i, i % 2, int(i < 4))}\n" for i in range(COUNT)))


def make_caffe_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """ImageNet's training folders, and flat validation images with Caffe's list of numbers."""
    for i in range(4):
        picture(Path(f"train/class00{i % 2}/{i}.png"), i)
    for i in (4, 5):
        picture(Path(f"val/{i}.png"), i)
    Path("val.txt").write_text("5.png 1\n4.png 0\n")


def make_json(monkeypatch: pytest.MonkeyPatch) -> None:
    """iNaturalist's JSON."""
    for i in range(COUNT):
        picture(Path(f"images/{i}.png"), i)
    content = {
        "images": [{"id": 10 + i, "file_name": f"images/{i}.png"} for i in range(COUNT)],
        "annotations": [{"image_id": 10 + i, "category_id": f"class00{i % 2}"} for i in range(COUNT)],
    }
    Path("train.json").write_text(json.dumps(content))


CASES = [
    (make_torchvision, "folder", "flowers", 2),
    (make_arrays, "folder", "pathmnist", 2),
    (make_named_files, "table", "train/all.csv", 2),
    (make_numbered_lists, "table", "all.csv", 2),
    (make_caffe_numbers, "imagenet", ".", 2),
    (make_json, "table", "all.csv", 2),
]


@pytest.mark.parametrize("number", range(len(CASES)))
def test_the_converted_images_have_their_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Each snippet, run as it is, gives a dataset of the same images, classes and splits."""
    assert len(SNIPPETS) == len(CASES)
    make: Callable[[pytest.MonkeyPatch], None]
    make, name, root, test_count = CASES[number]
    monkeypatch.chdir(tmp_path)
    make(monkeypatch)
    exec(SNIPPETS[number], {})
    recipe = Data.model_validate({"name": name, "root": root, "val_fraction": 0.0})
    dataset = data.load(recipe, cache=tmp_path / "cache")
    splits = [split for split in (dataset.train, dataset.val, dataset.test) if split is not None]
    labels = {
        image.numpy().tobytes(): dataset.classes[label]
        for split in splits
        for image, label in zip(split.images, split.labels.tolist(), strict=True)
    }
    assert labels == {noise(i).transpose(2, 0, 1).tobytes(): f"class00{i % 2}" for i in range(COUNT)}
    assert len(dataset.test) == test_count
