"""Verification: every kind of intact data passes, every kind of damage is named."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torchvision.datasets

from attncli import data
from attncli.data.datasets import imagenette
from attncli.data.verify import SplitCounts, VerificationReport
from attncli.recipe import Data
from tests.data.image_fixtures import folder, picture
from tests.data.test_layouts import WNIDS, fastai, imagenet, stl, synsets, tiny
from tests.data.test_parquet import write


def verify(name: str, root: Path | None = None, **keys: object) -> VerificationReport:
    """Return the report of a dataset."""
    return data.verify_dataset(Data.model_validate({"name": name, "root": str(root) if root else None, **keys}))


@pytest.fixture(autouse=True)
def _no_download(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ATTNCLI_DATA", str(tmp_path / "nothing"))

    def never(*args: object) -> None:
        raise AssertionError("verification downloads nothing")

    monkeypatch.setattr("attncli.data.readers.download.fetch_archive", never)


def labelled_imagenet(root: Path) -> Path:
    """ILSVRC's layout with labels."""
    synsets(imagenet(root))
    return root


KINDS: dict[str, Callable[[Path], Path]] = {
    "folder": lambda r: folder(r),
    "imagenet": labelled_imagenet,
    "parquet": lambda r: write(r / "x.parquet", [0, 1] * 5).parent,
}


@pytest.mark.parametrize("name", KINDS)
def test_whole_files_are_good(tmp_path: Path, name: str) -> None:
    """Every file is decoded and there is no problem."""
    report = verify(name, KINDS[name](tmp_path / "x"))
    assert report.problems == []
    assert report.checked == sum(part.images for part in report.parts) > 0


def test_digits_are_good() -> None:
    """Images in memory are counted."""
    report = verify("digits")
    assert report.problems == []
    assert [part.images for part in report.parts] == [1415, 382]


def test_counts_by_part_and_class(tmp_path: Path) -> None:
    """The smallest and the largest class of each part, whatever the recipe keeps."""
    root = folder(tmp_path / "x", ("train", "val", "test"))
    picture(root / "train/cat/more.png", 99)
    report = verify("folder", root)
    assert report.parts == [
        SplitCounts("train", 13, 3, 4, 5),
        SplitCounts("val", 12, 3, 4, 4),
        SplitCounts("test", 12, 3, 4, 4),
    ]


def test_every_unreadable_file_is_named(tmp_path: Path) -> None:
    """Seven bad files are seven findings, each with its reason; sizes that differ are none."""
    root = folder(tmp_path / "x", each=8)
    for i in range(5):
        (root / f"train/dog/{i}.png").write_text("no")
    (root / "test/cat/0.png").write_bytes(b"")
    whole = (root / "test/owl/7.png").read_bytes()
    (root / "test/owl/7.png").write_bytes(whole[: len(whole) // 2])
    picture(root / "train/cat/0.png", 3, (30, 20))
    report = verify("folder", root)
    assert len(report.problems) == 7
    assert report.problems[0] == "train/dog/0.png: not an image"
    assert any(problem.startswith("test/owl/7.png: ") for problem in report.problems)


def test_an_image_in_two_splits_is_a_problem(tmp_path: Path) -> None:
    """The same file in train/ and test/, here in another class: two problems that name both files."""
    root = folder(tmp_path / "x")
    (root / "test/owl/copy.png").write_bytes((root / "train/cat/2.png").read_bytes())
    copy, conflict = verify("folder", root).problems
    assert "train images: 1 of 13," in copy
    assert "train/cat/2.png = test/owl/copy.png" in copy
    assert "train/cat/2.png (cat) = test/owl/copy.png (owl)" in conflict


PUBLISHED: dict[str, tuple[Callable[[Path], Path], int, int]] = {  # a small copy, and the counts of the whole set
    "tiny-imagenet-200": (tiny, 100_000, 10_000),
    "imagenette": (lambda root: fastai(root, imagenette.CLASSES), 9_469, 3_925),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_counts(name: str, tmp_path: Path) -> None:
    """A wrong number of images is a problem if the number is published, also in a folder of one's own."""
    make_copy, *published_counts = PUBLISHED[name]
    report = verify(name, make_copy(tmp_path / "x"))
    assert len(report.problems) == 2
    (repair,) = report.repairs  # no file is wrong, so none has to go
    assert "--dataset folder" in repair
    for problem, part, published in zip(report.problems, report.parts, published_counts, strict=True):
        assert problem.startswith(f"{part.part}: {part.images:,} images")
        assert f"{published:,}" in problem


def test_a_layout_that_cannot_be_used(tmp_path: Path) -> None:
    """The layout's own error is the finding, its hint a remark."""
    root = tiny(tmp_path / "x")
    (root / "train" / WNIDS[0]).rename(root / "train/other")
    report = verify("tiny-imagenet-200", root)
    assert report.parts == []
    assert f"no folder train/{WNIDS[0]}/images" in report.problems[0]
    assert report.remarks
    assert report.repairs


def test_sums(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are compared with their published checksums: one changed byte is named."""
    root = stl(tmp_path / "x")
    known = torchvision.datasets.STL10
    folder_ = root / known.base_folder

    def sums(*names: str) -> list[list[str]]:
        return [[name, hashlib.md5((folder_ / name).read_bytes()).hexdigest()] for name in names]

    monkeypatch.setattr(known, "train_list", sums("train_X.bin", "train_y.bin"))
    monkeypatch.setattr(known, "test_list", sums("test_X.bin", "test_y.bin"))
    report = verify("stl10", root)
    assert report.sums == 4
    assert [p for p in report.problems if str(folder_) in p] == []
    path = folder_ / "train_X.bin"
    path.write_bytes(b"\0" + path.read_bytes()[1:])
    report = verify("stl10", root)
    assert report.sums == 3
    assert [p for p in report.problems if p.startswith(f"{path}: ")]


@pytest.mark.parametrize("name", ["cifar10", "svhn", "stl10", "imagenette", "imagewoof", "tiny-imagenet-200"])
def test_what_is_not_there_is_told_and_not_fetched(tmp_path: Path, name: str) -> None:
    """The problem names the folder, the remark how to get the files."""
    report = verify(name, tmp_path)
    assert report.problems == [f"{name}: not in {tmp_path}"]
    assert f"`attncli data prepare {name}`" in report.remarks[0]
