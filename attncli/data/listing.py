"""What lies in a folder of images: ROOT/train/CLASS/..., and val/ or test/ or both; only names and sizes are read."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from attncli.data.files import File
from attncli.errors import UserError, nearest

LAYOUT = "it holds train/CLASS/*.jpg and the same classes in test/ or val/ (or both)"
IGNORED = {"thumbs.db", "desktop.ini"}  # written by file managers, like all names that begin with a dot


@dataclass(frozen=True)
class Listing:
    """The classes of a part, sorted by name, and the files of each; `opened` as in `Files`, where they are no files."""

    part: str
    classes: tuple[str, ...]
    files: tuple[tuple[File, ...], ...]
    opened: Callable[[Path, File], Path | BinaryIO] | None = None


def list_root(root: Path) -> dict[str, Listing]:
    """The parts `train`, `test` and, where it is a part of its own, `val`; val/ serves as test where that is missing.

    Raises UserError for a missing folder, fewer than two classes, an empty class, a file outside the classes, or
    classes that differ between the parts.
    """
    if not root.is_dir():
        raise UserError(f"{root}: no such folder", f"--data-root names the folder of the images; {LAYOUT}")
    there = {entry.name for entry in os.scandir(root) if entry.is_dir()}
    if "train" not in there:
        raise UserError(f"{root}: no folder train/ in it", f"{LAYOUT}; {nearest('train', there)}".rstrip("; "))
    if not there & {"val", "test"}:
        others = there - {"train"}
        raise UserError(f"{root}: no folder test/ or val/ in it", f"{LAYOUT}; {nearest('test', others)}".rstrip("; "))
    names = ("train", "val", "test") if {"val", "test"} <= there else ("train", "test" if "test" in there else "val")
    parts = [list_classes(root, name) for name in names]
    for other in parts[1:]:
        _same_classes(root, parts[0], other)
    train, *val, test = parts
    return {"train": train, "test": test} | ({"val": val[0]} if val else {})


def list_flat(root: Path, folder: str) -> list[File]:
    """The files of one folder, by name. Raises UserError where there are none."""
    files = list(walk(root / folder, folder))
    if not files:
        raise UserError(f"{root / folder}: no files", "add images")
    return files


def list_classes(root: Path, part: str) -> Listing:
    """The images of PART/CLASS/. Raises UserError for fewer than two classes, an empty one, or a file outside them."""
    classes = []
    for entry in _entries(root / part):
        if not entry.is_dir():
            raise UserError(f"{entry.path}: a file outside the folders of the classes", f"move it to {part}/CLASS/")
        classes.append(entry.name)
    if len(classes) < 2:
        told = f"one folder only ('{classes[0]}')" if classes else "no folders"
        raise UserError(f"{root / part}: {told}; a classifier needs two classes or more", LAYOUT)
    files = tuple(tuple(walk(root / part / name, f"{part}/{name}")) for name in classes)
    empty = [name for name, found in zip(classes, files, strict=True) if not found]
    if empty:
        raise UserError(f"{root / part}: no files in {_some(empty)}", "add images, or remove the empty folders")
    return Listing(part, tuple(classes), files)


def walk(folder: Path, within: str) -> list[File]:
    """Every file at any depth, in the order of the names; `within` is the folder's path from the root."""
    found = []
    for entry in _entries(folder):
        if entry.is_dir():
            found += walk(Path(entry.path), f"{within}/{entry.name}")
        else:
            stat = entry.stat()
            found.append(File(f"{within}/{entry.name}", stat.st_size, stat.st_mtime_ns))
    return found


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            kept = (e for e in entries if not e.name.startswith(".") and e.name.lower() not in IGNORED)
            return sorted(kept, key=lambda e: e.name)
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror or error}", "make it readable") from error


def _same_classes(root: Path, train: Listing, other: Listing) -> None:
    for here, there in ((train, other), (other, train)):
        alone = sorted(set(here.classes) - set(there.classes))
        if alone:
            problem = f"{root}: {_some(alone)} in {here.part}/ but not in {there.part}/"
            raise UserError(problem, f"both need the same classes; {nearest(alone[0], there.classes)}")


def _some(names: list[str]) -> str:
    """A few names, and how many more there are."""
    return ", ".join(f"'{n}'" for n in names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
