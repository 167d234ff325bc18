"""Walk through folders of images: hidden and system files are passed over, files that are no images are told apart."""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path, PurePath

from attncli.data.images.files import ImageFile
from attncli.data.readers.split_names import is_system_name
from attncli.errors import UserError

# Files that lie among images and are none: notes, tables, archives, side files of cameras and of programs. Anything
# else counts as an image, so that an image that cannot be read is never skipped without a word.
STRAY_SUFFIXES = frozenset(
    f".{suffix}"
    for group in (
        "txt csv tsv json jsonl xml yaml yml toml ini cfg md rst html htm log pdf doc docx xls xlsx odt rtf names srt",
        "zip gz tgz tar 7z rar bz2 xz py ipynb sh bat r m js css db sqlite md5 sha1 sha256 part tmp crdownload bak",
        "pkl pickle npy npz mat h5 hdf5 parquet arrow tfrecord pt pth onnx cache url lnk webloc aae xmp thm",
        "mp4 mov avi mkv m4v wav mp3",
    )
    for suffix in group.split()
)


def is_stray(name: str) -> bool:
    """Return whether a file is no image by its name."""
    return PurePath(name).suffix.lower() in STRAY_SUFFIXES


def separate_stray_files(files: Sequence[ImageFile]) -> tuple[tuple[ImageFile, ...], tuple[str, ...]]:
    """Return the image files, and the paths of the files that are no images by their names."""
    images = tuple(file for file in files if not is_stray(file.path))
    return images, tuple(file.path for file in files if is_stray(file.path))


def join_folders(*folders: str) -> str:
    """Return a relative path of the folders that are not empty."""
    return "/".join(filter(None, folders))


def walk_folder(folder: Path, relative_folder: str) -> list[ImageFile]:
    """Return every file at any depth, sorted by name; `relative_folder` is the folder's path from the root.

    A link without a target is listed with size 0, so that it is reported with the unreadable images. Raises UserError
    for a folder that links back to one above it.
    """
    files = []
    for entry in scan_folder(folder):
        if is_folder(entry):
            if entry.is_symlink() and folder.resolve().is_relative_to(Path(entry.path).resolve()):
                raise UserError(f"{entry.path}: a link back to a folder above it", "remove the link")
            files += walk_folder(Path(entry.path), join_folders(relative_folder, entry.name))
        elif is_file(entry):
            files.append(describe_file(entry, join_folders(relative_folder, entry.name)))
    return files


def is_file(path: Path | os.DirEntry[str]) -> bool:
    """Return whether a path is a file, or a link even without a target; pipes, sockets and devices are none."""
    for test in (path.is_file, path.is_symlink):
        with suppress(OSError, ValueError):  # links in a circle, names that no file can have
            if test():
                return True
    return False


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
    return ImageFile(relative_path, stat.st_size, stat.st_mtime_ns, stat.st_ino ^ stat.st_ctime_ns)


def scan_folder(folder: Path) -> list[os.DirEntry[str]]:
    """Return what a folder holds, by name. Raises UserError if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return sorted((item for item in entries if not is_system_name(item.name)), key=lambda item: item.name)
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror or error}", "change its permissions") from error
