"""Fetching an archive: checked, with progress, whole or not at all, and gone on with where it was interrupted."""

import gzip
import hashlib
import http.client
import shutil
import tarfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attncli.data.paths import ProgressCallback

TIMEOUT_S = 30
BLOCK = 1 << 18
PARTIAL = 206  # HTTP: the answer is the rest of the file


@dataclass(frozen=True)
class Archive:
    """A file to fetch: where from (the first address that answers), where to, and its MD5 or SHA-256 sum."""

    urls: tuple[str, ...]
    path: Path
    sum: str


def fetch_archive(archive: Archive, progress: ProgressCallback) -> None:
    """Download an archive unless it is there already; what an earlier attempt got is gone on with.

    Raises OSError with the reason of the last address tried.
    """
    if has_checksum(archive.path, archive.sum):
        return
    archive.path.parent.mkdir(parents=True, exist_ok=True)
    partial_path = archive.path.with_name(f".{archive.path.name}.part")
    reason: Exception = OSError("no address known")
    for url in archive.urls:
        for _ in range(2):  # once more from the beginning, where the rest did not fit what was there
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
            reason = OSError(f"{url}: not the file that was expected")
            if not is_resumed:
                break
    raise OSError(str(getattr(reason, "reason", reason))) from reason


def has_checksum(path: Path, expected: str) -> bool:
    """Whether a file is there and has this MD5 (32 digits) or SHA-256 sum."""
    hasher: Callable[[], Any] = hashlib.sha256 if len(expected) == 64 else _new_md5
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, hasher).hexdigest() == expected
    except FileNotFoundError:
        return False


def unpack_archive(path: Path) -> None:
    """Unpack a .tar.gz, .tgz or .zip beside itself, or name.gz to name; what is there by its name is whole."""
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
    """Append the rest of a file to what there is of it, or all of it where the server has no rests."""
    present_bytes = path.stat().st_size if path.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={present_bytes}-"} if present_bytes else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        return  # nothing is missing: its sum tells whether it is the file
    with response, path.open("ab" if getattr(response, "status", None) == PARTIAL else "wb") as file:
        total = file.tell() + int(response.headers.get("Content-Length") or 0)
        while block := response.read(BLOCK):
            file.write(block)
            progress(activity, file.tell(), max(total, file.tell()))


def _new_md5() -> Any:
    return hashlib.md5(usedforsecurity=False)
