"""Each dataset's published layout in a tiny copy: it is read, and what is wrong with it is named."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch
import torchvision.datasets

from attncli import data
from attncli.data.dataset import Dataset
from attncli.data.datasets import imagenette, imagewoof
from attncli.errors import UserError
from attncli.recipe import Data
from tests.data.image_fixtures import noise, picture

WNIDS = ("n01440764", "n01443537", "n01484850")


def load(tmp_path: Path, name: str, root: Path, **keys: object) -> Dataset:
    """Load the dataset from a root, with nothing held out."""
    recipe = Data.model_validate({"name": name, "root": str(root), "val_fraction": 0.0, **keys})
    return data.load(recipe, cache=tmp_path / "cache")


def tiny(root: Path) -> Path:
    """Tiny ImageNet's layout: three classes, two training and two validation images each."""
    root.mkdir(parents=True)
    (root / "wnids.txt").write_text("\n".join(reversed(WNIDS)) + "\n")
    rows = []
    for c, wnid in enumerate(WNIDS):
        for i in range(2):
            picture(root / "train" / wnid / "images" / f"{wnid}_{i}.JPEG.png", 10 * c + i)
            picture(root / "val/images" / f"val_{3 * i + c}.png", 100 + 10 * c + i)
            rows.append(f"val_{3 * i + c}.png\t{wnid}\t0\t0\t8\t8")
        (root / "train" / wnid / f"{wnid}_boxes.txt").write_text("0 0 8 8")
    (root / "val/val_annotations.txt").write_text("\n".join(rows) + "\n")
    return root


def test_tiny_imagenet(tmp_path: Path) -> None:
    """Training images by folder, validation images by the annotations; boxes are ignored."""
    dataset = load(tmp_path, "tiny-imagenet-200", tiny(tmp_path / "root/tiny-imagenet-200").parent)
    assert dataset.classes == WNIDS
    assert dataset.train.labels.tolist() == dataset.test.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert np.array_equal(dataset.train.images[3].numpy(), noise(11).transpose(2, 0, 1))
    assert np.array_equal(dataset.test.images[4].numpy(), noise(120).transpose(2, 0, 1))
    assert load(tmp_path, "tiny-imagenet-200", tmp_path / "root/tiny-imagenet-200").digest == dataset.digest


def imagenet(root: Path, flat: bool = True) -> Path:
    """ILSVRC's layout: three classes, two training images each, and three validation images, flat or in folders."""
    for c, wnid in enumerate(WNIDS):
        for i in range(2):
            picture(root / "train" / wnid / f"{wnid}_{i}.png", 10 * c + i)
        name = f"ILSVRC2012_val_0000000{3 - c}.JPEG"
        path = picture(root / "val" / ("" if flat else wnid) / f"{c}.png", 100 + c)
        path.rename(path.with_name(name))
    return root


def synsets(root: Path) -> None:
    """Write one class per line, in the order of the names."""
    (root / "imagenet_2012_validation_synset_labels.txt").write_text("\n".join(reversed(WNIDS)))


def kaggle(root: Path) -> None:
    """Kaggle's table, three folders above."""
    with (root.parents[2] / "LOC_val_solution.csv").open("w", newline="") as file:
        rows = [(f"ILSVRC2012_val_0000000{3 - c}", f"{wnid} 1 2 3 4 ") for c, wnid in enumerate(WNIDS)]
        csv.writer(file).writerows([("ImageId", "PredictionString"), *rows])


def kit(root: Path) -> None:
    """The development kit's numbers, and the table of their classes."""
    folder = root / "ILSVRC2012_devkit_t12/data"
    folder.mkdir(parents=True)
    (folder / "ILSVRC2012_validation_ground_truth.txt").write_text("490\n361\n171\n")
    kind = [("ILSVRC2012_ID", object), ("WNID", object)]
    table = np.array([(171, WNIDS[0]), (361, WNIDS[1]), (490, WNIDS[2])], dtype=kind)
    scipy.io.savemat(folder / "meta.mat", {"synsets": table})


def pairs(root: Path) -> None:
    """Write one name and class per line."""
    lines = [f"val/ILSVRC2012_val_0000000{3 - c}.JPEG {wnid}" for c, wnid in enumerate(WNIDS)]
    (root / "val.txt").write_text("\n".join(lines))


@pytest.mark.parametrize("labels", [synsets, kaggle, kit, pairs])
def test_imagenet_with_flat_validation_images(tmp_path: Path, labels: Callable[[Path], None]) -> None:
    """The labels come from whichever file there is, and each image gets its own."""
    root = imagenet(tmp_path / "root/ILSVRC/Data/CLS-LOC")
    labels(root)
    dataset = load(tmp_path, "imagenet", tmp_path / "root")
    assert dataset.classes == WNIDS
    assert dataset.test.labels.tolist() == [0, 1, 2]
    expected = np.stack([noise(100 + c).transpose(2, 0, 1) for c in range(3)])
    assert np.array_equal(dataset.test.images.numpy(), expected)
    assert dataset.mean == (0.485, 0.456, 0.406)


def test_imagenet_in_folders_and_its_subsets(tmp_path: Path) -> None:
    """The first k classes, or those of a list file, which counts as the list."""
    root = imagenet(tmp_path / "root", flat=False)
    assert load(tmp_path, "imagenet", root, classes=2).classes == WNIDS[:2]
    chosen = tmp_path / "imagenet-2.txt"
    chosen.write_text(f"{WNIDS[2]}   # the third\n\n{WNIDS[0]}\n")
    dataset = load(tmp_path, "imagenet", root, classes=str(chosen))
    assert dataset.classes == (WNIDS[0], WNIDS[2])
    assert len(dataset.test) == 2
    from attncli import recipe

    listed = recipe.read(None, [f"data.classes=[{WNIDS[2]}, {WNIDS[0]}]"])
    assert recipe.read(None, [f"data.classes={chosen}"]).compute_digest() == listed.compute_digest()


def fastai(root: Path, classes: dict[str, str]) -> Path:
    """Imagenette's layout: ten classes, two images to train and one to test on."""
    for c, wnid in enumerate(classes):
        for part, count in (("train", 2), ("val", 1)):
            for i in range(count):
                picture(root / part / wnid / f"{i}.png", 100 * c + 10 * (part == "val") + i)
    return root


@pytest.mark.parametrize(("name", "module"), [("imagenette", imagenette), ("imagewoof", imagewoof)])
def test_imagenette_and_imagewoof(tmp_path: Path, name: str, module: Any) -> None:
    """An unpacked folder as data.root, or one with the archive's folder in it; classes have names."""
    root = fastai(tmp_path / f"root/{name}2-320", module.CLASSES)
    dataset = load(tmp_path, name, root, image_size=8)
    assert dataset.classes == tuple(module.CLASSES.values())
    assert (len(dataset.train), len(dataset.test)) == (20, 10)
    assert load(tmp_path, name, tmp_path / "root", image_size=256).size == (256, 256)
    assert dataset.mean == (0.485, 0.456, 0.406)


def test_svhn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The digit 0, which the files call 10, is class 0; pixels are upright."""
    import hashlib

    root = tmp_path / "root"
    root.mkdir()
    pixels, known = {}, {}
    for seed, part in enumerate(("train", "test")):
        pixels[part] = np.random.default_rng(seed).integers(0, 256, (32, 32, 3, 12), dtype=np.uint8)
        path = root / f"{part}_32x32.mat"
        scipy.io.savemat(path, {"X": pixels[part], "y": np.array([[10, *range(1, 10), 10, 1]], np.uint8).T})
        known[part] = ["file:///nowhere", path.name, hashlib.md5(path.read_bytes()).hexdigest()]
    monkeypatch.setattr(torchvision.datasets.SVHN, "split_list", known)
    dataset = load(tmp_path, "svhn", root)
    assert dataset.train.labels.tolist() == [*range(10), 0, 1]
    assert np.array_equal(dataset.test.images[5].numpy(), pixels["test"][..., 5].transpose(2, 0, 1))
    assert not dataset.flip


def stl(root: Path) -> Path:
    """STL-10's binary files: four images each, stored column by column."""
    folder = root / "stl10_binary"
    folder.mkdir(parents=True)
    (folder / "class_names.txt").write_text("airplane\nbird\ncar\n")
    for seed, part in enumerate(("train", "test")):
        upright = np.stack([noise(10 * seed + i, (96, 96)) for i in range(4)])
        upright.transpose(0, 3, 2, 1).tofile(folder / f"{part}_X.bin")
        np.array([1, 2, 3, 1], np.uint8).tofile(folder / f"{part}_y.bin")
    return root


def test_stl10(tmp_path: Path) -> None:
    """Images come out upright, classes counted from 0 and named."""
    dataset = load(tmp_path, "stl10", stl(tmp_path / "root"))
    assert dataset.classes == ("airplane", "bird", "car")
    assert dataset.train.labels.tolist() == [0, 1, 2, 0]
    assert np.array_equal(dataset.test.images[2].numpy(), noise(12, (96, 96)).transpose(2, 0, 1))


Spoil = Callable[[Path], object]
BROKEN: dict[str, tuple[str, Callable[[Path], Path], Spoil, str]] = {
    "tiny: no list of classes": ("tiny-imagenet-200", lambda r: tiny(r / "tiny-imagenet-200").parent,
        lambda r: (r / "tiny-imagenet-200/wnids.txt").unlink(), "wnids.txt: No such file"),
    "tiny: a class without a folder": ("tiny-imagenet-200", tiny,
        lambda r: (r / "train" / WNIDS[1]).rename(r / "train/other"), f"no folder train/{WNIDS[1]}/images"),
    "tiny: a class without images": ("tiny-imagenet-200", tiny,
        lambda r: [p.unlink() for p in (r / "train" / WNIDS[1] / "images").iterdir()], f"no files in train/{WNIDS[1]}"),
    "tiny: an image without a label": ("tiny-imagenet-200", tiny,
        lambda r: picture(r / "val/images/val_99.png", 5), "no label for val_99.png"),
    "tiny: a label without its image": ("tiny-imagenet-200", tiny,
        lambda r: (r / "val/images/val_0.png").unlink(), "1 image missing: val_0.png"),
    "tiny: an unreadable image": ("tiny-imagenet-200", tiny,
        lambda r: (r / "val/images/val_0.png").write_text("no"), "val/images/val_0.png (not an image)"),
    "imagenet: no train": ("imagenet", imagenet, lambda r: (r / "train").rename(r / "trian"), "no folder train/"),
    "imagenet: no val": ("imagenet", imagenet, lambda r: (r / "val").rename(r / "vla"), "no folder val/"),
    "imagenet: no labels": ("imagenet", imagenet, lambda r: None, "no file that gives their classes"),
    "imagenet: too few labels": ("imagenet", imagenet,
        lambda r: (r / "imagenet_2012_validation_synset_labels.txt").write_text(WNIDS[0]), "1 label for 3 images"),
    "imagenet: numbers without a table": ("imagenet", imagenet,
        lambda r: (r / "ILSVRC2012_validation_ground_truth.txt").write_text("1\n2\n3\n"), "no meta.mat"),
    "imagenet: an unknown class": ("imagenet", imagenet,
        lambda r: (r / "imagenet_2012_validation_synset_labels.txt").write_text("a\nb\nc"), "which is not in train/"),
    "imagenette: another class": ("imagenette", lambda r: fastai(r, imagenette.CLASSES),
        lambda r: [(r / p / "n01440764").rename(r / p / "n00000001") for p in ("train", "val")], "not the ten classes"),
    "stl10: a file cut short": ("stl10", stl,
        lambda r: (r / "stl10_binary/test_y.bin").write_bytes(b"\1"), "4 images and 1 labels"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "make", "spoil", "expected_text"), BROKEN.values(), ids=BROKEN.keys())
def test_what_is_wrong_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    make: Callable[[Path], Path],
    spoil: Spoil,
    expected_text: str,
) -> None:
    """One line with the file or folder and a hint; nothing half-decoded is left."""
    monkeypatch.setattr("attncli.data.readers.download.fetch_archive", lambda *a: None)
    monkeypatch.setattr("attncli.data.readers.download.unpack_archive", lambda *a: None)
    root = make(tmp_path / "root")
    spoil(root)
    with pytest.raises(UserError) as caught:
        load(tmp_path, name, root)
    assert expected_text in caught.value.problem
    assert "\n" not in caught.value.problem
    assert caught.value.hint
    cache = tmp_path / "cache"
    assert not cache.exists() or not [p for p in cache.iterdir() if p.name.startswith(".")]


def test_numbers_in_place_of_wordnet_ids_have_a_way_on(tmp_path: Path) -> None:
    """Caffe's val.txt has a number for each image: the hint names a class and where the conversion stands."""
    root = imagenet(tmp_path / "root")
    (root / "val.txt").write_text("".join(f"ILSVRC2012_val_0000000{3 - c}.JPEG {c}\n" for c in range(3)))
    with pytest.raises(UserError, match=r"has the class '[0-2]'") as caught:
        load(tmp_path, "imagenet", root)
    assert f"'{WNIDS[0]}'" in caught.value.hint
    assert "attncli help data" in caught.value.hint


def test_a_list_of_a_split_beside_images_names_its_reader(tmp_path: Path) -> None:
    """A folder of images with val.txt is one for `--dataset table`; any other text beside images says nothing."""
    picture(tmp_path / "root" / "val" / "a.png", 1)
    for name, is_list in (("README.txt", False), ("val.txt", True)):
        (tmp_path / "root" / name).write_text("a.png 0\n")
        with pytest.raises(UserError, match="no folder train/") as caught:
            load(tmp_path, "folder", tmp_path / "root")
        assert ("--dataset table" in caught.value.hint) == is_list


def test_resized_crops_of_files(tmp_path: Path) -> None:
    """Whole training images are kept, decoding in every epoch gives the same, and evaluation sees the centre."""
    root = tmp_path / "root"
    for part in ("train", "val"):
        for c, name in enumerate(("cat", "dog")):
            for i in range(3):
                picture(root / part / name / f"{i}.png", 10 * c + i, (20 + i, 16 + c))
    kept = load(tmp_path, "folder", root, image_size=8, crop="resized")
    anew = load(tmp_path, "folder", root, image_size=8, crop="resized", decoded=False)
    assert kept.digest == anew.digest
    assert kept.size == (8, 8)
    pictures = [dataset.train.whole_images for dataset in (kept, anew)]
    assert pictures[0] is not None
    assert pictures[1] is not None
    assert list(zip(pictures[0].height.tolist(), pictures[0].width.tolist(), strict=True))[:2] == [(12, 15), (12, 16)]
    assert all(np.array_equal(pictures[0].read(i), pictures[1].read(i)) for i in range(6))
    wider = load(tmp_path, "folder", root, image_size=8, crop="resized", centre=1.0)
    assert wider.notes == kept.notes
    assert not torch.equal(wider.test.images, kept.test.images)
    assert torch.equal(wider.test.images, load(tmp_path, "folder", root, image_size=8).test.images)
    with pytest.raises(UserError, match="resized crops need a size"):
        load(tmp_path, "folder", root, crop="resized")
