"""Getting the files of a dataset: read them if they are there, else download, check and unpack them.

A download is whole or not there, and resumes after an interruption. (pooch checks, unpacks and shows progress too, but
it does not resume, and the largest archive here has 2.6 GB.) Only one process downloads at a time.
"""

import gzip
import hashlib
import http.client
import shutil
import tarfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock

from attncli.data.paths import DataPaths, ProgressCallback
from attncli.errors import UserError
from attncli.quantities import format_first, format_quantity

T = TypeVar("T")
TIMEOUT_S = 30
BLOCK = 1 << 18
PARTIAL_CONTENT = 206  # HTTP: the response is the rest of the file
SHOWN = 5  # files named in an error
UNREADABLE_ERRORS = (RuntimeError, OSError, EOFError, ValueError, AssertionError, KeyError, LookupError)


class NotFetchedError(UserError):
    """Published files are missing, or differ from what was published, and nothing may be downloaded."""


@dataclass(frozen=True)
class Archive:
    """A file to download: from the first of the `urls` that answers, to `path`, with its MD5 or SHA-256 sum."""

    urls: tuple[str, ...]
    path: Path
    sum: str


@dataclass(frozen=True)
class PublishedFiles:
    """The files of a dataset: the archives that hold them and what data.root contains once they are unpacked.

    `checksums` are the published MD5 or SHA-256 sums of unpacked files.
    """

    name: str  # of the dataset
    archives: Sequence[Archive]
    required: str  # names of files or folders in data.root, for people
    checksums: Sequence[tuple[Path, str]] = ()


def read_or_download(read: Callable[[], T], files: PublishedFiles, paths: DataPaths) -> T:
    """Return what `read` returns, after a download if the files are not there.

    If nothing may be downloaded (`paths.may_fetch`), missing and changed files are reported instead. Raises UserError
    if the files cannot be downloaded or read.
    """
    with suppress(*UNREADABLE_ERRORS):
        return read()
    if not paths.may_fetch:
        raise missing_files_error(files, paths)
    try:
        with FileLock(paths.root / f".{files.name}.lock"):
            with suppress(*UNREADABLE_ERRORS):  # another process may have downloaded them meanwhile
                return read()
            for archive in files.archives:
                fetch_archive(archive, paths.progress)
                if archive.path.suffix in (".gz", ".tgz", ".zip"):
                    unpack_archive(archive.path)
    except OSError as error:
        reason = str(error).rstrip(".")
        problem = f"{files.name}: not in {paths.root}, and the download failed: {reason}"
        raise UserError(problem, _describe_choices(files.required)) from error
    try:
        return read()
    except UNREADABLE_ERRORS as error:
        problem = f"{files.name}: the files in {paths.root / files.required} cannot be read: {error}"
        raise UserError(problem, _describe_choices(files.required)) from error


def missing_files_error(files: PublishedFiles, paths: DataPaths) -> NotFetchedError:
    """Return the error for files that are missing or differ from the published ones."""
    wrong = [path for path, expected in files.checksums if not has_checksum(path, expected)]
    present = [path for path in wrong if path.exists()]
    if not present:
        return NotFetchedError(
            f"{files.name}: not in {paths.root}",
            f"`attncli data prepare {files.name}` downloads it; {_describe_choices(files.required)}",
        )
    named = format_first(list(map(str, present)), SHOWN)
    problem = f"{files.name}: not as published: {format_quantity(len(present), 'file')}: {named}"
    return NotFetchedError(problem, f"remove them; `attncli data prepare {files.name}` downloads them again")


def _describe_choices(required: str) -> str:
    return (
        f"--data-root DIR names a folder that contains {required}; --dataset folder takes your own images; "
        "--dataset digits needs no download"
    )


def fetch_archive(archive: Archive, progress: ProgressCallback) -> None:
    """Download an archive unless it is there already; an interrupted download resumes.

    Raises OSError with the cause of the last failure.
    """
    if has_checksum(archive.path, archive.sum):
        return
    archive.path.parent.mkdir(parents=True, exist_ok=True)
    partial_path = archive.path.with_name(f".{archive.path.name}.part")
    reason: Exception = OSError("no address known")
    for url in archive.urls:
        for _ in range(2):  # again from the beginning if the rest did not fit what was there
            is_resumed = partial_path.exists()
            try:
                _download_rest(url, partial_path, f"downloading {archive.path.name}", progress)
            except (OSError, http.client.HTTPException) as error:
                reason = error
                break
            if has_checksum(partial_path, archive.sum):
                partial_path.replace(archive.path)
                return
            partial_path.unlink()
            reason = OSError(f"{url}: not the expected file")
            if not is_resumed:
                break
    raise OSError(str(getattr(reason, "reason", reason))) from reason


def has_checksum(path: Path, expected: str) -> bool:
    """Return whether a file exists and has this MD5 (32 digits) or SHA-256 sum."""
    hasher: Callable[[], Any] = hashlib.sha256 if len(expected) == 64 else _new_md5
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, hasher).hexdigest() == expected
    except FileNotFoundError:
        return False


def unpack_archive(path: Path) -> None:
    """Unpack a .tar.gz, .tgz or .zip beside itself, or name.gz to name; nothing half unpacked has its final name."""
    unpack_folder = path.with_name(f".{path.name}.unpacked")
    shutil.rmtree(unpack_folder, ignore_errors=True)
    unpack_folder.mkdir()
    try:
        if path.name.endswith((".tar.gz", ".tgz")):
            with tarfile.open(path) as archive:
                archive.extractall(unpack_folder, filter="data")
        elif path.suffix == ".zip":
            with zipfile.ZipFile(path) as zipped:
                zipped.extractall(unpack_folder)
        else:
            with gzip.open(path) as packed, (unpack_folder / path.stem).open("wb") as file:
                shutil.copyfileobj(packed, file)
        for item in unpack_folder.iterdir():
            _replace_path(item, path.with_name(item.name))
    finally:
        shutil.rmtree(unpack_folder, ignore_errors=True)


def _replace_path(item: Path, target: Path) -> None:
    if target.is_dir():
        shutil.rmtree(target)
    item.replace(target)


def _download_rest(url: str, path: Path, activity: str, progress: ProgressCallback) -> None:
    """Append the rest of a file to the part that is there, or write all of it if the server cannot send a rest.

    Raises OSError if the server sends less than it announced.
    """
    present_bytes = path.stat().st_size if path.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={present_bytes}-"} if present_bytes else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        return  # nothing is missing: the checksum decides whether it is the right file
    with response, path.open("ab" if getattr(response, "status", None) == PARTIAL_CONTENT else "wb") as file:
        total = file.tell() + int(response.headers.get("Content-Length") or 0)
        while block := response.read(BLOCK):
            file.write(block)
            progress(activity, file.tell(), max(total, file.tell()))
        if file.tell() < total:  # Python reports no error
            raise OSError(f"the connection ended after {file.tell():,} of {total:,} bytes; the next download resumes")


def _new_md5() -> Any:
    return hashlib.md5(usedforsecurity=False)
