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
CHUNK_SIZE = 64  # images a task
SHOWN = 5  # bad files named in an error


class ImageFile(NamedTuple):
    """An image file: its path within the root, bytes, and time of last change in nanoseconds."""

    path: str
    size: int
    changed_ns: int


UnreadableFile = tuple[str, str]  # (file, reason)


def join_path(root: Path, file: ImageFile) -> Path:
    """A file of its own."""
    return root / file.path


@dataclass(frozen=True)
class ImageFileList:
    """Files below a root, in an order; `opener(root, file)` is a path or, within another file, an open file."""

    root: Path
    files: Sequence[ImageFile]
    opener: Callable[[Path, ImageFile], Path | BinaryIO] = join_path

    def __len__(self) -> int:
        return len(self.files)

    def select_rows(self, rows: Sequence[int]) -> "ImageFileList":
        """Some of them."""
        return replace(self, files=[self.files[i] for i in rows])

    def open_file(self, file: ImageFile) -> Path | BinaryIO:
        """One of them, for a decoder."""
        return self.opener(self.root, file)

    def read_content(self, file: ImageFile) -> bytes:
        """The bytes of one of them."""
        opened = self.open_file(file)
        return opened.read_bytes() if isinstance(opened, Path) else opened.read()

    def make_key(self, *parts: object) -> str:
        """A name for what is made of these files: another one when a file, the root or `parts` changes."""
        digest = hashlib.sha256(repr((parts[0], str(self.root.resolve()), *parts[1:])).encode())
        digest.update("\n".join(f"{file.path}\t{file.size}\t{file.changed_ns}" for file in self.files).encode())
        return digest.hexdigest()[:16]

    def unreadable_error(self, unreadable: Sequence[UnreadableFile], total: int) -> UserError:
        """One error that names the first few of all bad files."""
        named = "; ".join(f"{path} ({reason})" for path, reason in unreadable[:SHOWN])
        more = f"; and {len(unreadable) - SHOWN} more" if len(unreadable) > SHOWN else ""
        problem = f"{self.root}: {len(unreadable)} of {total} files can't be used as images: {named}{more}"
        return UserError(problem, "mend or remove them")


def describe_failure(error: Exception) -> str:
    """Why a file could not be decoded, in a few words."""
    first_line = (str(error).splitlines() or [""])[0]
    return "not an image" if first_line.startswith("cannot identify image file") else first_line or type(error).__name__


def count_threads() -> int:
    """Threads of a pool: as many as this process has cores."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_in_order(
    function: Callable[[Sequence[ImageFile]], T], files: Sequence[ImageFile], chunk_size: int = CHUNK_SIZE
) -> Iterator[T]:
    """`function` of chunks of the files, in order, with a few chunks in flight, however many there are."""
    pending: deque[Future[T]] = deque()
    thread_count = count_threads()
    pool = ThreadPoolExecutor(thread_count, thread_name_prefix="decode")
    try:
        for start in range(0, len(files), chunk_size):
            pending.append(pool.submit(function, files[start : start + chunk_size]))
            if len(pending) > 2 * thread_count:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
