"""Datasets that torchvision knows: its files, its checks, its reading; downloading with progress is ours."""

from typing import Any

import numpy as np
import torch
import torchvision.datasets

from attncli.data.dataset import Part, Source, Three
from attncli.data.download import Archive
from attncli.data.memory import memory_part
from attncli.data.obtain import obtain
from attncli.data.place import Place
from attncli.recipe import Data


def cifar(kind: str, data: Data, place: Place, *, mean: Three, std: Three) -> Source:
    """CIFAR-10 or CIFAR-100 (`kind` as torchvision has it)."""
    known = getattr(torchvision.datasets, kind)
    archive = Archive((known.url,), place.root / known.filename, known.tgz_md5)
    folder = place.root / known.base_folder
    sums = [(folder / name, md5) for name, md5 in (*known.train_list, *known.test_list)]
    train, test = obtain(
        lambda: (known(place.root, train=True), known(place.root, train=False)),
        data.name, place, [archive], f"{known.base_folder}/", sums,
    )  # fmt: skip
    return Source(
        classes=tuple(train.classes),
        train=_part(train, data),
        test=_part(test, data),
        origin=known.url,
        flip=True,
        mean=mean,
        std=std,
        counts=(50_000, 10_000),
        sums=sums,
    )


def mnist(kind: str, data: Data, place: Place, *, mean: float, std: float, classes: tuple[str, ...]) -> Source:
    """MNIST or Fashion-MNIST (`kind` as torchvision has it)."""
    known = getattr(torchvision.datasets, kind)
    raw = place.root / kind / "raw"
    archives = [Archive(tuple(m + name for m in known.mirrors), raw / name, md5) for name, md5 in known.resources]
    train, test = obtain(
        lambda: (known(place.root, train=True), known(place.root, train=False)),
        data.name, place, archives, f"{kind}/raw/",
    )  # fmt: skip
    return Source(
        classes=classes,
        train=_part(train, data),
        test=_part(test, data),
        origin=known.mirrors[0],
        mean=(mean, mean, mean),
        std=(std, std, std),
        counts=(60_000, 10_000),
        sums=[(a.path, a.sum) for a in archives if a.path.exists()],  # the unpacked files have no published sums
    )


def svhn(data: Data, place: Place) -> Source:
    """SVHN's cropped digits, training and test part."""
    known = torchvision.datasets.SVHN
    parts = {split: known.split_list[split] for split in ("train", "test")}
    archives = [Archive((url,), place.root / name, md5) for url, name, md5 in parts.values()]
    train, test = obtain(
        lambda: (known(str(place.root), "train"), known(str(place.root), "test")),
        data.name, place, archives, "train_32x32.mat and test_32x32.mat", [(a.path, a.sum) for a in archives],
    )  # fmt: skip

    def part(read: Any) -> Part:
        images = torch.from_numpy(np.ascontiguousarray(np.transpose(read.data, (0, 2, 3, 1))))
        return memory_part(images, torch.from_numpy(read.labels), data.image_size)

    return Source(
        classes=tuple("0123456789"),
        train=part(train),
        test=part(test),
        origin=archives[0].urls[0],
        counts=(73_257, 26_032),
        sums=[(a.path, a.sum) for a in archives],
    )


def stl10(data: Data, place: Place) -> Source:
    """STL-10's labelled images; the unlabelled ones are not read."""
    known = torchvision.datasets.STL10
    folder = place.root / known.base_folder
    archive = Archive((known.url,), place.root / known.filename, known.tgz_md5)
    sums = [(folder / name, md5) for name, md5 in (*known.train_list[:2], *known.test_list)]

    def read() -> tuple[tuple[str, ...], Part, Part]:
        names = (folder / known.class_names_file).read_text(encoding="utf-8").split()
        parts = []
        for part in ("train", "test"):
            images = np.fromfile(folder / f"{part}_X.bin", np.uint8).reshape(-1, 3, 96, 96)
            labels = np.fromfile(folder / f"{part}_y.bin", np.uint8).astype(np.int64) - 1
            if len(images) != len(labels) or not len(labels) or not 0 <= labels.min() <= labels.max() < len(names):
                raise ValueError(f"{len(images)} images and {len(labels)} labels of {len(names)} classes in {part}_*")
            upright = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 2, 1)))
            parts.append(memory_part(upright, torch.from_numpy(labels), data.image_size))
        return tuple(names), parts[0], parts[1]

    classes, train, test = obtain(read, data.name, place, [archive], f"{known.base_folder}/", sums)
    return Source(
        classes=classes, train=train, test=test, origin=known.url, flip=True, counts=(5_000, 8_000), sums=sums
    )


def _part(known: Any, data: Data) -> Part:
    return memory_part(torch.as_tensor(known.data), torch.as_tensor(known.targets), data.image_size)
