"""Lists of image files that are not read yet, and a pool of threads that works through them.

Threads instead of processes: Pillow releases the GIL while it decodes and resamples, which takes nearly all of the
time, and the pixels need not be sent between processes.
"""

import errno
import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

from attncli.data.images.pixel_rules import PLAIN_RULES, PixelRules
from attncli.errors import UserError
from attncli.quantities import format_first, format_quantity
from attncli.system.hardware import count_usable_cpus

T = TypeVar("T")
CHUNK_SIZE = 64  # images per task
SHOWN = 5  # unreadable files named in an error


class ImageFile(NamedTuple):
    """An image file: its path relative to the root, its size in bytes and its time of change in nanoseconds.

    `stamp` changes if another file takes its place, even with the same size and time of change.
    """

    path: str
    size: int
    changed_ns: int
    stamp: int = 0


UnreadableFile = tuple[str, str]  # (file, reason)


def join_path(root: Path, file: ImageFile) -> Path:
    """Return the path of a file that is not inside another file."""
    return root / file.path


@dataclass(frozen=True)
class ImageFileList:
    """Files below a root, in order; `opener(root, file)` returns a path, or a stream if it is inside another file."""

    root: Path
    files: Sequence[ImageFile]
    opener: Callable[[Path, ImageFile], Path | BinaryIO] = join_path
    rules: PixelRules = PLAIN_RULES

    def __len__(self) -> int:
        return len(self.files)

    def select_rows(self, rows: Sequence[int]) -> "ImageFileList":
        """Return the list with these files only."""
        return replace(self, files=[self.files[i] for i in rows])

    def open_file(self, file: ImageFile) -> Path | BinaryIO:
        """Return the path or the stream of a file, for a decoder."""
        return self.opener(self.root, file)

    def read_content(self, file: ImageFile) -> bytes:
        """Return the bytes of a file."""
        opened = self.open_file(file)
        return opened.read_bytes() if isinstance(opened, Path) else opened.read()

    def make_key(self, *parts: object) -> str:
        """Return a cache key for what is made of these files: it changes with a file, the root, rules or `parts`."""
        rules = () if self.rules == PLAIN_RULES else (self.rules,)
        digest = hashlib.sha256(repr((parts[0], str(self.root.resolve()), *parts[1:], *rules)).encode())
        lines = "\n".join(f"{file.path}\t{file.size}\t{file.changed_ns}" for file in self.files)
        digest.update(lines.encode("utf-8", "surrogateescape"))  # a name on disk may hold any bytes
        return digest.hexdigest()[:16]

    def unreadable_error(self, unreadable: Sequence[UnreadableFile], total: int) -> UserError:
        """Return one error for all unreadable files; it names the first few."""
        named = name_unreadable_files(unreadable)
        count = f"{len(unreadable):,} of {format_quantity(total, 'file')}"
        problem = f"{self.root}: {count} cannot be read as images: {named}"
        return UserError(problem, "fix or remove them, or leave them out: --set data.bad=skip")


def name_unreadable_files(files: Sequence[UnreadableFile]) -> str:
    """Return the first of the files that cannot be read, each with the reason, and how many others there are."""
    return format_first([f"{path} ({reason})" for path, reason in files], SHOWN, "; ")


def stamp_files(files: Sequence[ImageFile]) -> str:
    """Return a digest of the stamps of files: it changes if one is replaced, even by one of the same size and time."""
    return hashlib.sha256(",".join(str(file.stamp) for file in files).encode()).hexdigest()[:16]


def describe_failure(error: Exception) -> str:
    """Return in a few words why a file could not be decoded."""
    if isinstance(error, OSError) and error.strerror:
        is_link = isinstance(error.filename, str | os.PathLike) and os.path.islink(error.filename)
        return "a link without a target" if is_link and error.errno == errno.ENOENT else error.strerror
    first_line = (str(error).splitlines() or [""])[0]
    return "not an image" if first_line.startswith("cannot identify image file") else first_line or type(error).__name__


def count_threads() -> int:
    """Return the number of threads of a pool: one per core that this process may use."""
    return count_usable_cpus() or 1


def map_in_order(
    function: Callable[[Sequence[ImageFile]], T], files: Sequence[ImageFile], chunk_size: int = CHUNK_SIZE
) -> Iterator[T]:
    """Yield `function(chunk)` for chunks of the files, in order; only a few chunks are in work at any time."""
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
