"""Imagenette and Imagewoof: ten ImageNet classes each, as fast.ai publishes them, or an unpacked folder of the kind."""

from collections.abc import Mapping
from pathlib import Path

from attncli.data.dataset import DatasetSource
from attncli.data.obtain import read_or_download
from attncli.data.paths import DataPaths
from attncli.data.readers.download import Archive
from attncli.data.readers.image_files import make_image_source
from attncli.data.readers.image_folder import list_root
from attncli.errors import UserError
from attncli.recipe import Data

BASE_URL = "https://s3.amazonaws.com/fast-ai-imageclas"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet


def read_fastai(
    data: Data,
    paths: DataPaths,
    dataset_name: str,
    checksums: Mapping[int, str],
    class_names: Mapping[str, str],
    published_counts: tuple[int, int],
) -> DatasetSource:
    """The classes `class_names` (by WordNet ID) of `dataset_name`, from data.root or the published archive.

    `checksums` are those of the archives by the shorter side of their images; the smallest is taken that has no
    fewer pixels
    than data.image_size. Raises UserError for a folder with other classes, and where nothing is there or to be had.
    """
    if paths.user_root and (paths.user_root / "train").is_dir():
        return _read_fastai_folder(paths.user_root, data, paths, class_names, None)
    side = min((size for size in checksums if size >= (data.image_size or max(checksums))), default=max(checksums))
    folder = paths.root / f"{dataset_name}2-{side}"
    archive = Archive((f"{BASE_URL}/{folder.name}.tgz",), paths.root / f"{folder.name}.tgz", checksums[side])

    def read_folder() -> DatasetSource:
        if not folder.is_dir():
            raise LookupError(folder)
        return _read_fastai_folder(folder, data, paths, class_names, published_counts)

    return read_or_download(read_folder, data.name, paths, [archive], f"train/ and val/, or {folder.name}/")


def _read_fastai_folder(
    root: Path, data: Data, paths: DataPaths, class_names: Mapping[str, str], published_counts: tuple[int, int] | None
) -> DatasetSource:
    listings = list_root(root)
    wordnet_ids = listings["train"].classes
    differing = sorted(set(wordnet_ids) ^ set(class_names))
    if differing:
        problem = f"{root}: not the ten classes of {data.name}: {', '.join(differing[:5])}"
        raise UserError(problem, "--dataset folder takes any classes")
    return make_image_source(
        listings,
        root,
        data,
        paths,
        classes=[class_names[wnid] for wnid in wordnet_ids],
        mean=MEAN,
        std=STD,
        published_counts=published_counts,
    )
