"""Imagenette and Imagewoof: ten ImageNet classes each, as fast.ai publishes them, or a folder of that kind."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from attncli.data.dataset import DatasetSource
from attncli.data.images.arrays import IMAGENET_MEAN, IMAGENET_STD
from attncli.data.paths import DataPaths
from attncli.data.readers.download import Archive, PublishedFiles, read_or_download
from attncli.data.readers.image_files import make_image_source
from attncli.data.readers.image_folder import list_root
from attncli.errors import UserError
from attncli.recipe import Data

BASE_URL = "https://s3.amazonaws.com/fast-ai-imageclas"


def read_fastai(
    data: Data,
    paths: DataPaths,
    dataset_name: str,
    checksums: Mapping[int, str],
    class_names: Mapping[str, str],
    published_counts: tuple[int, int],
) -> DatasetSource:
    """Return a dataset of fast.ai from data.root or from its published archive.

    Of the archives, the one with the smallest images that are at least as high and wide as data.image_size is taken.

    Args:
        data: the recipe's section.
        paths: folders of the files.
        dataset_name: name of the archives.
        checksums: MD5 sums of the archives by the shorter side of their images in pixels.
        class_names: names of the classes by WordNet ID.
        published_counts: numbers of training and test images.

    Raises:
        UserError: for a folder with other classes, or files that are neither there nor available.
    """
    if paths.user_root and (paths.user_root / "train").is_dir():
        return _read_fastai_folder(paths.user_root, data, paths, class_names, published_counts)
    least_side = max(data.size or checksums)
    side = min((size for size in checksums if size >= least_side), default=max(checksums))
    folder = paths.root / f"{dataset_name}2-{side}"
    archive = Archive((f"{BASE_URL}/{folder.name}.tgz",), paths.root / f"{folder.name}.tgz", checksums[side])

    def read_folder() -> DatasetSource:
        if not folder.is_dir():
            raise LookupError(folder)
        return _read_fastai_folder(folder, data, paths, class_names, published_counts)

    files = PublishedFiles(data.name, [archive], f"train/ and val/, or {folder.name}/")
    return read_or_download(read_folder, files, paths)


def _read_fastai_folder(
    root: Path, data: Data, paths: DataPaths, class_names: Mapping[str, str], published_counts: tuple[int, int]
) -> DatasetSource:
    listings = list_root(root)
    wordnet_ids = listings["train"].classes
    differing = sorted(set(wordnet_ids) ^ set(class_names))
    if differing:
        problem = f"{root}: not the ten classes of {data.name}: {', '.join(differing[:5])}"
        raise UserError(problem, "--dataset folder takes any classes")
    return replace(
        make_image_source(listings, root, data, paths),
        classes=tuple(class_names[wnid] for wnid in wordnet_ids),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        published_counts=published_counts,
    )
