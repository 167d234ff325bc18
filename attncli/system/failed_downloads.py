"""What a file is that was never really fetched: by its first bytes."""

from pathlib import Path

HEAD_BYTES = 132
SIGNATURES = {
    "a web page, as downloads that failed leave": (b"<!doctype html", b"<html"),
    "a pointer of Git LFS: `git lfs pull` fetches the file": (b"version https://git-lfs",),
}


def identify_failed_download(head: bytes) -> str | None:
    """Return what stands in place of a file, in words that follow its name in an error, or None if it may be one."""
    if not head:
        return "an empty file"
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return next((kind for kind, signatures in SIGNATURES.items() if start.startswith(signatures)), None)


def read_failed_download(path: Path) -> str | None:
    """Return what stands in place of a file, or None if it may be one, or cannot be opened."""
    try:
        with path.open("rb") as file:
            return identify_failed_download(file.read(HEAD_BYTES))
    except OSError:
        return None
