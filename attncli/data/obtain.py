"""Having a dataset's files: read where they are there, else fetched and read, by one process at a time."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from attncli.data.download import Archive, fetch, sound, unpack
from attncli.data.lock import exclusive
from attncli.data.place import Place
from attncli.errors import UserError

T = TypeVar("T")
Sums = Sequence[tuple[Path, str]]  # files and their MD5 or SHA-256 sums
UNREADABLE = (RuntimeError, OSError, EOFError, ValueError, AssertionError, KeyError, LookupError)


def obtain(
    read: Callable[[], T], name: str, place: Place, archives: Sequence[Archive], holds: str, sums: Sums = ()
) -> T:
    """What `read` gives once the files are there; `holds` is what data.root holds then.

    Where nothing may be fetched (`place.fetch`), the files of `sums` that are missing or changed are named.
    Raises UserError where the files can't be had or read.
    """
    with suppress(*UNREADABLE):
        return read()
    if not place.fetch:
        raise absent(name, place, holds, sums)
    try:
        with exclusive(place.root / f".{name}.lock"):
            with suppress(*UNREADABLE):  # another process may have fetched them meanwhile
                return read()
            for archive in archives:
                fetch(archive, place.progress)
                if archive.path.suffix in (".gz", ".tgz", ".zip"):
                    unpack(archive.path)
    except OSError as error:
        why = str(error).rstrip(".")
        raise UserError(f"{name}: not in {place.root}, and the download failed: {why}", _hint(holds)) from error
    try:
        return read()
    except UNREADABLE as error:
        raise UserError(f"{name}: the files in {place.root / holds} can't be read: {error}", _hint(holds)) from error


def absent(name: str, place: Place, holds: str, sums: Sums) -> UserError:
    """The error for files that are not there, or not as they were published."""
    wrong = [path for path, expected in sums if not sound(path, expected)]
    there = [path for path in wrong if path.exists()]
    if not there:
        return UserError(f"{name}: not in {place.root}", f"`attncli data prepare {name}` fetches it; {_hint(holds)}")
    named = ", ".join(str(path) for path in there[:5])
    more = f" and {len(there) - 5} more" if len(there) > 5 else ""
    problem = f"{name}: {len(there)} files are not as they were published: {named}{more}"
    return UserError(problem, f"remove them; `attncli data prepare {name}` fetches them again")


def _hint(holds: str) -> str:
    return (
        f"--data-root DIR names a folder that has {holds}; --dataset folder takes images of your own; "
        "--dataset digits needs no download"
    )
