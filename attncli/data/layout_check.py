"""Check the layout of a dataset by the code that loads it, without decoding: classes, splits, a file of each class."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from attncli.data.dataset import LazySplit
from attncli.data.images.decode import Target, read_image_size
from attncli.data.images.decoded_cache import make_size_error
from attncli.data.images.files import ImageFile, ImageFileList, UnreadableFile, describe_failure, join_path
from attncli.data.paths import DataPaths
from attncli.data.readers.image_files import choose_target
from attncli.data.registry import read_source
from attncli.data.split_selection import select_splits
from attncli.recipe import Data


class CheckedLayout(NamedTuple):
    """How many images each split has, and how many classes there are."""

    image_counts: Mapping[str, int]
    class_count: int


def check_layout(data: Data, paths: DataPaths) -> CheckedLayout:
    """Return the numbers of images by split. Raises UserError, as loading does, for what loading refuses.

    Of the files, the headers of a few are read: one for each class and split. A damaged file, or one of another size,
    may only be found by loading.
    """
    source = read_source(data, paths)
    without_decoding = data.model_copy(update={"bad": "refuse"})  # to skip files, all have to be decoded
    classes, splits, _ = select_splits(without_decoding, source, paths)
    if source.train.files is not None:
        target = choose_target(source.train.files, "train", data)
        for split in splits.values():
            _check_some_files(split, target, skips_unreadable=data.bad == "skip")
    counts: dict[str, int] = {name: len(splits[name].labels) for name in ("train", "val", "test") if name in splits}
    return CheckedLayout(counts, len(classes))


def _check_some_files(split: LazySplit, target: Target, *, skips_unreadable: bool) -> None:
    """Read the header of the first file of each class, and if that is no image, of all files of the class.

    Raises UserError for files that are no images, or have another size than the target must have.
    """
    files = split.files
    if files is None or files.opener is not join_path:  # the row of a table may have to be read with many others
        return
    class_files: dict[int, list[ImageFile]] = {}
    for file, label in zip(files.files, split.labels.tolist(), strict=True):
        class_files.setdefault(label, []).append(file)
    unreadable: list[UnreadableFile] = []
    for first, *others in class_files.values():
        if first_unreadable := _find_unreadable([first], files, target):
            unreadable += first_unreadable + _find_unreadable(others, files, target)
    if unreadable and not skips_unreadable:
        raise files.unreadable_error(unreadable, len(files))


def _find_unreadable(some_files: Sequence[ImageFile], files: ImageFileList, target: Target) -> list[UnreadableFile]:
    """Return the files that are no images by their headers. Raises UserError for one of another size."""
    unreadable = []
    for file in some_files:
        try:
            height, width = read_image_size(files.open_file(file), files.rules)
        except Exception as error:  # what a decoder raises on broken input is not a closed list
            unreadable.append((file.path, describe_failure(error)))
            continue
        if target.like and (height, width) != (target.height, target.width):
            raise make_size_error(files, target, file, f"{width} x {height}")
    return unreadable
