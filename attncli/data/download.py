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

from attncli.data.place import Progress

TIMEOUT_S = 30
BLOCK = 1 << 18
PARTIAL = 206  # HTTP: the answer is the rest of the file


@dataclass(frozen=True)
class Archive:
    """A file to fetch: where from (the first address that answers), where to, and its MD5 or SHA-256 sum."""

    urls: tuple[str, ...]
    path: Path
    sum: str


def fetch(archive: Archive, progress: Progress) -> None:
    """Download an archive unless it is there already; what an earlier attempt got is gone on with.

    Raises OSError with the reason of the last address tried.
    """
    if sound(archive.path, archive.sum):
        return
    archive.path.parent.mkdir(parents=True, exist_ok=True)
    part = archive.path.with_name(f".{archive.path.name}.part")
    reason: Exception = OSError("no address known")
    for url in archive.urls:
        for _ in range(2):  # once more from the beginning, where the rest did not fit what was there
            resumed = part.exists()
            try:
                _copy(url, part, f"downloading {archive.path.name}", progress)
            except (OSError, http.client.HTTPException) as error:
                reason = error
                break
            if sound(part, archive.sum):
                part.replace(archive.path)
                return
            part.unlink()
            reason = OSError(f"{url}: not the file that was expected")
            if not resumed:
                break
    raise OSError(str(getattr(reason, "reason", reason))) from reason


def sound(path: Path, expected: str) -> bool:
    """Whether a file is there and has this MD5 (32 digits) or SHA-256 sum."""
    kind: Callable[[], Any] = hashlib.sha256 if len(expected) == 64 else _md5
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, kind).hexdigest() == expected
    except FileNotFoundError:
        return False


def unpack(path: Path) -> None:
    """Unpack a .tar.gz, .tgz or .zip beside itself, or name.gz to name; what is there by its name is whole."""
    own = path.with_name(f".{path.name}.unpacked")
    shutil.rmtree(own, ignore_errors=True)
    own.mkdir()
    try:
        if path.name.endswith((".tar.gz", ".tgz")):
            with tarfile.open(path) as archive:
                archive.extractall(own, filter="data")
        elif path.suffix == ".zip":
            with zipfile.ZipFile(path) as zipped:
                zipped.extractall(own)
        else:
            with gzip.open(path) as packed, (own / path.stem).open("wb") as file:
                shutil.copyfileobj(packed, file)
        for made in own.iterdir():
            _replace(made, path.with_name(made.name))
    finally:
        shutil.rmtree(own, ignore_errors=True)


def _replace(made: Path, wanted: Path) -> None:
    if wanted.is_dir():
        shutil.rmtree(wanted)
    made.replace(wanted)


def _copy(url: str, path: Path, what: str, progress: Progress) -> None:
    """Append the rest of a file to what there is of it, or all of it where the server has no rests."""
    there = path.stat().st_size if path.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={there}-"} if there else {})
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
            progress(what, file.tell(), max(total, file.tell()))


def _md5() -> Any:
    return hashlib.md5(usedforsecurity=False)
