"""Fetching an archive: checked, with progress, whole or not at all."""

import gzip
import hashlib
import http.client
import os
import shutil
import tarfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from attncli.data.place import Progress

TIMEOUT_S = 30
BLOCK = 1 << 18


@dataclass(frozen=True)
class Archive:
    """A file to fetch: where from (the first address that answers), where to, and its MD5 sum."""

    urls: tuple[str, ...]
    path: Path
    md5: str


def fetch(archive: Archive, progress: Progress) -> None:
    """Download an archive unless it is there already.

    Raises OSError with the reason of the last address tried.
    """
    if archive.path.exists() and _md5(archive.path) == archive.md5:
        return
    archive.path.parent.mkdir(parents=True, exist_ok=True)
    temporary = archive.path.with_name(f".{archive.path.name}.{os.getpid()}")
    reason: Exception = OSError("no address known")
    try:
        for url in archive.urls:
            try:
                _copy(url, temporary, f"downloading {archive.path.name}", progress)
            except (OSError, http.client.HTTPException) as error:
                reason = error
                continue
            if _md5(temporary) == archive.md5:
                temporary.replace(archive.path)
                return
            reason = OSError(f"{url}: not the file that was expected")
    finally:
        temporary.unlink(missing_ok=True)
    raise OSError(str(getattr(reason, "reason", reason))) from reason


def unpack(path: Path) -> None:
    """Unpack name.tar.gz beside itself, or name.gz to name."""
    if path.name.endswith(".tar.gz"):
        with tarfile.open(path) as archive:
            archive.extractall(path.parent, filter="data")
    else:
        with gzip.open(path) as packed, path.with_suffix("").open("wb") as file:
            shutil.copyfileobj(packed, file)


def _copy(url: str, path: Path, what: str, progress: Progress) -> None:
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response, path.open("wb") as file:
        total = int(response.headers.get("Content-Length") or 0)
        while block := response.read(BLOCK):
            file.write(block)
            progress(what, file.tell(), max(total, file.tell()))


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
