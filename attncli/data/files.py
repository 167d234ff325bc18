"""Image files that are not read yet, and working through many of them with a pool of threads.

Threads and not processes: Pillow lets go of the interpreter while it decodes and resamples, which is nearly all there
is to do, and the pixels need not be passed on.
"""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

from attncli.errors import UserError

T = TypeVar("T")
CHUNK = 64  # images a task
SHOWN = 5  # bad files named in an error


class File(NamedTuple):
    """An image file: its path within the root, bytes, and time of last change in nanoseconds."""

    path: str
    size: int
    changed: int


Bad = tuple[str, str]  # (file, reason)


def on_disk(root: Path, file: File) -> Path:
    """A file of its own."""
    return root / file.path


@dataclass(frozen=True)
class Files:
    """Files below a root, in an order; `opened(root, file)` is a path or, within another file, an open file."""

    root: Path
    files: Sequence[File]
    opened: Callable[[Path, File], Path | BinaryIO] = on_disk

    def __len__(self) -> int:
        return len(self.files)

    def rows(self, rows: Sequence[int]) -> "Files":
        """Some of them."""
        return replace(self, files=[self.files[i] for i in rows])

    def open(self, file: File) -> Path | BinaryIO:
        """One of them, for a decoder."""
        return self.opened(self.root, file)

    def content(self, file: File) -> bytes:
        """The bytes of one of them."""
        found = self.open(file)
        return found.read_bytes() if isinstance(found, Path) else found.read()

    def key(self, *more: object) -> str:
        """A name for what is made of these files: another one when a file, the root or `more` changes."""
        digest = hashlib.sha256(repr((more[0], str(self.root.resolve()), *more[1:])).encode())
        digest.update("\n".join(f"{f.path}\t{f.size}\t{f.changed}" for f in self.files).encode())
        return digest.hexdigest()[:16]

    def unreadable(self, bad: Sequence[Bad], total: int) -> UserError:
        """One error that names the first few of all bad files."""
        named = "; ".join(f"{path} ({why})" for path, why in bad[:SHOWN])
        more = f"; and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
        problem = f"{self.root}: {len(bad)} of {total} files can't be used as images: {named}{more}"
        return UserError(problem, "mend or remove them")


def reason(error: Exception) -> str:
    """Why a file could not be decoded, in a few words."""
    first = (str(error).splitlines() or [""])[0]
    return "not an image" if first.startswith("cannot identify image file") else first or type(error).__name__


def workers() -> int:
    """Threads of a pool: as many as this process has cores."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_order(work: Callable[[Sequence[File]], T], files: Sequence[File], chunk: int = CHUNK) -> Iterator[T]:
    """`work` of chunks of the files, in order, with a few chunks in flight, however many there are."""
    waiting: deque[Future[T]] = deque()
    count = workers()
    pool = ThreadPoolExecutor(count, thread_name_prefix="decode")
    try:
        for start in range(0, len(files), chunk):
            waiting.append(pool.submit(work, files[start : start + chunk]))
            if len(waiting) > 2 * count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
