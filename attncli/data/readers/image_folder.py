"""List a folder of images: ROOT/train/CLASS/..., and val/ or test/ or both. Only names and sizes are read.

The folders of the splits may have any name of `split_names.SPLIT_WORDS`, such as Training/ and Testing/.
"""

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from attncli.data.images.files import ImageFile
from attncli.data.readers.split_names import assign_splits, is_system_name, recognize_split
from attncli.errors import UserError, escape_unprintable, suggest_name

LAYOUT = "it contains train/CLASS/*.jpg and the same classes in test/ or val/ (or both)"


@dataclass(frozen=True)
class SplitListing:
    """The classes of a split, sorted by name, and the files of each class; `opener` as in `ImageFileList`."""

    split: str
    classes: tuple[str, ...]
    files: tuple[tuple[ImageFile, ...], ...]
    opener: Callable[[Path, ImageFile], Path | BinaryIO] | None = None


def list_root(root: Path, unused: Collection[str] = ()) -> dict[str, SplitListing]:
    """Return the splits `train`, `test` and, if folders of both are there, `val`; a lone val/ is the test split.

    `unused` names folders to leave out (data.unused_splits). Raises UserError for a missing folder, a folder with
    images of the same classes that is no known split, fewer than two classes, an empty class, a file outside the
    folders of the classes, or classes that differ between the splits.
    """
    if not is_folder(root):
        raise UserError(f"{root}: no such folder", f"--data-root names the folder of the images; {LAYOUT}")
    names = [entry.name for entry in _scan_entries(root) if is_folder(entry) and entry.name not in unused]
    known = {split for name in names if (split := recognize_split(name))}
    if "train" not in known:
        raise UserError(f"{root}: no folder train/ in it", f"{LAYOUT}; {suggest_name('train', names)}".rstrip("; "))
    if known == {"train"}:
        others = [name for name in names if recognize_split(name) is None]
        raise UserError(
            f"{root}: no folder test/ or val/ in it", f"{LAYOUT}; {suggest_name('test', others)}".rstrip("; ")
        )
    folders = assign_splits(_list_split_folders(root, names), str(root))
    if "test" not in folders:
        folders["test"] = folders.pop("val")
    listings = {split: list_class_folders(root, folder) for split, folder in sorted(folders.items(), reverse=True)}
    for split, listing in listings.items():
        if split != "train":
            _check_same_classes(root, listings["train"], listing)
    return listings


def _list_split_folders(root: Path, names: Collection[str]) -> list[str]:
    """Return the folders that have a split's name, or hold a folder of one of the training classes."""
    train = next(name for name in names if recognize_split(name) == "train")
    classes = {entry.name for entry in _scan_entries(root / train) if is_folder(entry)}
    return [
        name for name in names if recognize_split(name) or any(is_folder(root / name / wanted) for wanted in classes)
    ]


def list_flat_folder(root: Path, folder: str) -> list[ImageFile]:
    """Return the files of one folder, by name. Raises UserError if there are none."""
    files = list(walk_folder(root / folder, folder))
    if not files:
        raise UserError(f"{root / folder}: no files", "add images")
    return files


def list_class_folders(root: Path, split: str) -> SplitListing:
    """Return the images of SPLIT/CLASS/. Raises UserError for fewer than two classes, an empty one, or a stray file."""
    classes = []
    for entry in _scan_entries(root / split):
        if not is_folder(entry):
            raise UserError(f"{entry.path}: a file outside the folders of the classes", f"move it to {split}/CLASS/")
        classes.append(check_class_name(entry.name, str(root / split)))
    if len(classes) < 2:
        description = f"one folder only ('{classes[0]}')" if classes else "no folders"
        raise UserError(f"{root / split}: {description}; a classifier needs at least two classes", LAYOUT)
    files = tuple(tuple(walk_folder(root / split / name, f"{split}/{name}")) for name in classes)
    empty = [name for name, class_files in zip(classes, files, strict=True) if not class_files]
    if empty:
        raise UserError(
            f"{root / split}: no files in {_format_names(empty)}", "add images, or remove the empty folders"
        )
    return SplitListing(split, tuple(classes), files)


def check_class_name(name: str, location: str) -> str:
    """Return the name of a class. Raises UserError if it cannot be printed and recorded in one line of UTF-8."""
    if escape_unprintable(name) != name:
        raise UserError(f"{location}: '{name}': the name of a class must be one line of valid UTF-8", "rename it")
    return name


def walk_folder(folder: Path, relative_folder: str) -> list[ImageFile]:
    """Return every file at any depth, sorted by name; `relative_folder` is the folder's path from the root.

    A link without a target is listed with size 0, so that it is reported with the unreadable images. Raises UserError
    for a folder that links back to one above it.
    """
    files = []
    for entry in _scan_entries(folder):
        if is_folder(entry):
            if entry.is_symlink() and folder.resolve().is_relative_to(Path(entry.path).resolve()):
                raise UserError(f"{entry.path}: a link back to a folder above it", "remove the link")
            files += walk_folder(Path(entry.path), f"{relative_folder}/{entry.name}")
        elif is_file(entry):
            files.append(describe_file(entry, f"{relative_folder}/{entry.name}"))
    return files


def is_file(path: Path | os.DirEntry[str]) -> bool:
    """Return whether a path is a file, or a link even without a target; pipes, sockets and devices are none."""
    try:
        return path.is_file() or path.is_symlink()
    except (OSError, ValueError):
        return path.is_symlink()


def is_folder(entry: Path | os.DirEntry[str]) -> bool:
    """Return whether a path is a folder or a link to one; what cannot be looked at is none."""
    try:
        return entry.is_dir()
    except (OSError, ValueError):  # links in a circle, names that are too long, folders that may not be read
        return False


def describe_file(path: Path | os.DirEntry[str], relative_path: str) -> ImageFile:
    """Return a file with its size and time of change; both are 0 if it is not there."""
    try:
        stat = path.stat()
    except (OSError, ValueError):
        return ImageFile(relative_path, 0, 0)
    return ImageFile(relative_path, stat.st_size, stat.st_mtime_ns)


def _scan_entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted((item for item in entries if not is_system_name(item.name)), key=lambda item: item.name)
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror or error}", "change its permissions") from error


def _check_same_classes(root: Path, train: SplitListing, other: SplitListing) -> None:
    for first, second in ((train, other), (other, train)):
        missing = sorted(set(first.classes) - set(second.classes))
        if missing:
            problem = f"{root}: {_format_names(missing)} in {first.split}/ but not in {second.split}/"
            raise UserError(problem, f"both need the same classes; {suggest_name(missing[0], second.classes)}")


def _format_names(names: list[str]) -> str:
    """Return a few names, and how many more there are."""
    return ", ".join(f"'{name}'" for name in names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
