"""110,000 photographs, 64x64, 200 ImageNet classes (Le and Yang 2015); downloaded, 248 MB.

100,000 to train and 10,000 (val/) to test on, in the published layout: train/WNID/images/* and val/images/*
with val/val_annotations.txt. The labels of test/ were never published. Classes are WordNet IDs; some images are grey.
"""

from dataclasses import replace
from pathlib import Path

from attncli.data.dataset import DatasetSource
from attncli.data.paths import DataPaths
from attncli.data.readers.download import Archive, PublishedFiles, read_or_download
from attncli.data.readers.file_walk import separate_stray_files, walk_folder
from attncli.data.readers.image_files import make_image_source
from attncli.data.readers.image_folder import list_flat_folder
from attncli.data.readers.label_files import group_by_label, read_lines
from attncli.data.readers.split_listing import SplitListing
from attncli.errors import UserError
from attncli.recipe import Data

ORIGIN = "download"
ALIASES = ("tiny-imagenet", "tinyimagenet")
CLASS_COUNT = 200
SIDE = 64
HOLDS = ("tiny-imagenet-200",)
URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
MD5 = "90528d7ca1a48142e341f4ef8d21d0de"
LAYOUT = "wnids.txt, train/WNID/images/*.JPEG, val/images/*.JPEG and val/val_annotations.txt"


def read(data: Data, paths: DataPaths) -> DatasetSource:
    """Return the dataset from data.root, tiny-imagenet-200/ in it, or the archive. Raises UserError without them."""
    if paths.user_root and (paths.user_root / "wnids.txt").is_file():
        return _read_tiny_folder(paths.user_root, data, paths)
    folder = paths.root / "tiny-imagenet-200"

    def read_folder() -> DatasetSource:
        if not folder.is_dir():
            raise LookupError(folder)
        return _read_tiny_folder(folder, data, paths)

    archive = Archive((URL,), paths.root / f"{folder.name}.zip", MD5)
    return read_or_download(read_folder, PublishedFiles(data.name, [archive], f"{folder.name}/"), paths)


def _read_tiny_folder(root: Path, data: Data, paths: DataPaths) -> DatasetSource:
    classes = tuple(sorted(text.strip() for text in read_lines(root / "wnids.txt", LAYOUT) if text.strip()))
    listings = {"train": _list_train(root, classes), "test": _list_val(root, classes)}
    source = make_image_source(listings, root, data, paths)
    return replace(source, origin=URL, published_counts=(100_000, 10_000))


def _list_train(root: Path, classes: tuple[str, ...]) -> SplitListing:
    """List every image of every class."""
    for wnid in classes:
        if not (root / "train" / wnid / "images").is_dir():
            raise UserError(f"{root}: no folder train/{wnid}/images", LAYOUT)
    files = tuple(
        separate_stray_files(walk_folder(root / "train" / wnid / "images", f"train/{wnid}/images"))[0]
        for wnid in classes
    )
    empty = [wnid for wnid, class_files in zip(classes, files, strict=True) if not class_files]
    if empty:
        raise UserError(f"{root}: no files in train/{empty[0]}/images", LAYOUT)
    return SplitListing("train", classes, files)


def _list_val(root: Path, classes: tuple[str, ...]) -> SplitListing:
    """List the images of val/images by their classes in val_annotations.txt, whose lines are name, class, box."""
    annotation_file = root / "val" / "val_annotations.txt"
    rows = [text.split("\t")[:2] for text in read_lines(annotation_file, LAYOUT) if text.strip()]
    label_by_name = {row[0]: row[1] for row in rows if len(row) == 2}
    return group_by_label("val", classes, list_flat_folder(root, "val/images"), label_by_name, annotation_file)
