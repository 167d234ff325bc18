"""Having a dataset's files: read where they are there, else fetched and read, by one process at a time."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from attncli.data.lock import exclusive_lock
from attncli.data.paths import DataPaths
from attncli.data.readers.download import Archive, fetch_archive, has_checksum, unpack_archive
from attncli.errors import UserError

T = TypeVar("T")
Checksums = Sequence[tuple[Path, str]]  # files and their MD5 or SHA-256 sums
UNREADABLE_ERRORS = (RuntimeError, OSError, EOFError, ValueError, AssertionError, KeyError, LookupError)


def read_or_download(
    read: Callable[[], T],
    name: str,
    paths: DataPaths,
    archives: Sequence[Archive],
    required_files: str,
    checksums: Checksums = (),
) -> T:
    """What `read` gives once the files are there; `required_files` is what data.root holds then.

    Where nothing may be fetched (`place.fetch`), the files of `checksums` that are missing or changed are named.
    Raises UserError where the files can't be had or read.
    """
    with suppress(*UNREADABLE_ERRORS):
        return read()
    if not paths.may_fetch:
        raise missing_files_error(name, paths, required_files, checksums)
    try:
        with exclusive_lock(paths.root / f".{name}.lock"):
            with suppress(*UNREADABLE_ERRORS):  # another process may have fetched them meanwhile
                return read()
            for archive in archives:
                fetch_archive(archive, paths.progress)
                if archive.path.suffix in (".gz", ".tgz", ".zip"):
                    unpack_archive(archive.path)
    except OSError as error:
        reason = str(error).rstrip(".")
        raise UserError(
            f"{name}: not in {paths.root}, and the download failed: {reason}", _describe_choices(required_files)
        ) from error
    try:
        return read()
    except UNREADABLE_ERRORS as error:
        raise UserError(
            f"{name}: the files in {paths.root / required_files} can't be read: {error}",
            _describe_choices(required_files),
        ) from error


def missing_files_error(name: str, paths: DataPaths, required_files: str, checksums: Checksums) -> UserError:
    """The error for files that are not there, or not as they were published."""
    wrong = [path for path, expected in checksums if not has_checksum(path, expected)]
    present = [path for path in wrong if path.exists()]
    if not present:
        return UserError(
            f"{name}: not in {paths.root}",
            f"`attncli data prepare {name}` fetches it; {_describe_choices(required_files)}",
        )
    named = ", ".join(str(path) for path in present[:5])
    more = f" and {len(present) - 5} more" if len(present) > 5 else ""
    problem = f"{name}: {len(present)} files are not as they were published: {named}{more}"
    return UserError(problem, f"remove them; `attncli data prepare {name}` fetches them again")


def _describe_choices(required_files: str) -> str:
    return (
        f"--data-root DIR names a folder that has {required_files}; --dataset folder takes images of your own; "
        "--dataset digits needs no download"
    )
