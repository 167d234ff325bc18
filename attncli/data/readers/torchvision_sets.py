"""Datasets that torchvision reads and checks; the download, with progress, is our own."""

from typing import Any

import numpy as np
import torch
import torchvision.datasets

from attncli.data.dataset import DatasetSource, LazySplit
from attncli.data.images.arrays import RGBTriple
from attncli.data.paths import DataPaths
from attncli.data.readers.download import Archive, PublishedFiles, read_or_download
from attncli.data.readers.in_memory import make_memory_split
from attncli.recipe import Data


def read_cifar(class_name: str, data: Data, paths: DataPaths, *, mean: RGBTriple, std: RGBTriple) -> DatasetSource:
    """Return CIFAR-10 or CIFAR-100; `class_name` is that of torchvision."""
    dataset_class = getattr(torchvision.datasets, class_name)
    if (paths.root / dataset_class.meta["filename"]).exists():  # the root is the folder of the archive itself
        dataset_class = type(class_name, (dataset_class,), {"base_folder": ""})
    archive = Archive((dataset_class.url,), paths.root / dataset_class.filename, dataset_class.tgz_md5)
    folder = paths.root / dataset_class.base_folder
    checksums = [(folder / name, md5) for name, md5 in (*dataset_class.train_list, *dataset_class.test_list)]
    train, test = read_or_download(
        lambda: (dataset_class(paths.root, train=True), dataset_class(paths.root, train=False)),
        PublishedFiles(data.name, [archive], f"{getattr(torchvision.datasets, class_name).base_folder}/", checksums),
        paths,
    )
    return DatasetSource(
        classes=tuple(train.classes),
        train=_wrap_split(train, data),
        test=_wrap_split(test, data),
        origin=dataset_class.url,
        flip=True,
        mean=mean,
        std=std,
        published_counts=(50_000, 10_000),
        checksums=checksums,
    )


def read_mnist(
    class_name: str, data: Data, paths: DataPaths, *, mean: float, std: float, classes: tuple[str, ...]
) -> DatasetSource:
    """Return MNIST or Fashion-MNIST; `class_name` is that of torchvision."""
    dataset_class = getattr(torchvision.datasets, class_name)
    raw_folder = paths.root / class_name / "raw"
    folders = (raw_folder, paths.root / "raw", paths.root)
    present = (folder for folder in folders if any(folder.glob("train-images-idx3-ubyte*")))
    if (present_folder := next(present, raw_folder)) != raw_folder:
        raw_folder = present_folder
        dataset_class = type(class_name, (dataset_class,), {"raw_folder": str(raw_folder)})
    archives = [
        Archive(tuple(mirror + name for mirror in dataset_class.mirrors), raw_folder / name, md5)
        for name, md5 in dataset_class.resources
    ]
    train, test = read_or_download(
        lambda: (dataset_class(paths.root, train=True), dataset_class(paths.root, train=False)),
        PublishedFiles(data.name, archives, f"{class_name}/raw/"),
        paths,
    )
    return DatasetSource(
        classes=classes,
        train=_wrap_split(train, data),
        test=_wrap_split(test, data),
        origin=dataset_class.mirrors[0],
        mean=(mean, mean, mean),
        std=(std, std, std),
        published_counts=(60_000, 10_000),
        # the unpacked files have no published checksums
        checksums=[(archive.path, archive.sum) for archive in archives if archive.path.exists()],
    )


def read_svhn(data: Data, paths: DataPaths) -> DatasetSource:
    """Return the cropped digits of SVHN, training and test split."""
    dataset_class = torchvision.datasets.SVHN
    splits = {split: dataset_class.split_list[split] for split in ("train", "test")}
    archives = [Archive((url,), paths.root / name, md5) for url, name, md5 in splits.values()]
    checksums = [(archive.path, archive.sum) for archive in archives]
    train, test = read_or_download(
        lambda: (dataset_class(str(paths.root), "train"), dataset_class(str(paths.root), "test")),
        PublishedFiles(data.name, archives, "train_32x32.mat and test_32x32.mat", checksums),
        paths,
    )

    def wrap_images(dataset: Any) -> LazySplit:
        images = torch.from_numpy(np.ascontiguousarray(np.transpose(dataset.data, (0, 2, 3, 1))))
        return make_memory_split(images, torch.from_numpy(dataset.labels), data.size)

    return DatasetSource(
        classes=tuple("0123456789"),
        train=wrap_images(train),
        test=wrap_images(test),
        origin=archives[0].urls[0],
        published_counts=(73_257, 26_032),
        checksums=checksums,
    )


def read_stl10(data: Data, paths: DataPaths) -> DatasetSource:
    """Return the labelled images of STL-10; the unlabelled ones are not read."""
    dataset_class = torchvision.datasets.STL10
    is_root = (paths.root / dataset_class.train_list[0][0]).exists()
    folder = paths.root if is_root else paths.root / dataset_class.base_folder
    archive = Archive((dataset_class.url,), paths.root / dataset_class.filename, dataset_class.tgz_md5)
    checksums = [(folder / name, md5) for name, md5 in (*dataset_class.train_list[:2], *dataset_class.test_list)]

    def read_binary_files() -> tuple[tuple[str, ...], LazySplit, LazySplit]:
        names = (folder / dataset_class.class_names_file).read_text(encoding="utf-8").split()
        lazy_splits = []
        for split in ("train", "test"):
            images = np.fromfile(folder / f"{split}_X.bin", np.uint8).reshape(-1, 3, 96, 96)
            labels = np.fromfile(folder / f"{split}_y.bin", np.uint8).astype(np.int64) - 1
            if len(images) != len(labels) or not len(labels) or not 0 <= labels.min() <= labels.max() < len(names):
                raise ValueError(f"{len(images)} images and {len(labels)} labels of {len(names)} classes in {split}_*")
            upright = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 2, 1)))
            lazy_splits.append(make_memory_split(upright, torch.from_numpy(labels), data.size))
        return tuple(names), lazy_splits[0], lazy_splits[1]

    files = PublishedFiles(data.name, [archive], f"{dataset_class.base_folder}/", checksums)
    classes, train, test = read_or_download(read_binary_files, files, paths)
    return DatasetSource(
        classes=classes,
        train=train,
        test=test,
        origin=dataset_class.url,
        flip=True,
        published_counts=(5_000, 8_000),
        checksums=checksums,
    )


def _wrap_split(dataset: Any, data: Data) -> LazySplit:
    return make_memory_split(torch.as_tensor(dataset.data), torch.as_tensor(dataset.targets), data.size)
