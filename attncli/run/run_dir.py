"""A run's folder: held by one process, cleared for a run begun anew, and what a full disk means for it."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from attncli.errors import RunFailedError, UserError
from attncli.recipe import Recipe
from attncli.run.naming import format_run_title

DISK_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}


class RunInUseError(UserError):
    """Another process is at the run."""


def clear_run_dir(folder: Path) -> None:
    """Remove what an earlier run of this digest left, but for its origin, by which MLflow's run is found again."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in (".lock", "origin.json"):
            path.unlink()


@contextmanager
def locked_run_dir(folder: Path, recipe: Recipe) -> Iterator[None]:
    """Yield the run's folder, held by this process alone. Raises UserError if it is not to be had."""
    hint = "give a folder that can be written, --runs"
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", timeout=0)
        lock.acquire()
    except Timeout as error:
        problem = f"{folder}: another process is at this run ({format_run_title(recipe)}) now"
        raise RunInUseError(problem, "wait for it, or choose another seed") from error
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror or error}", hint) from error
    with lock:
        try:
            yield
        finally:
            if is_new and [p.name for p in folder.iterdir()] == [".lock"]:  # nothing began: leave nothing behind
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def translated_disk_errors(folder: Path) -> Iterator[None]:
    """Turn a disk that is full or no longer takes anything into a RunFailedError."""
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_ERRNOS:
            raise
        path = error.filename or folder
        raise RunFailedError(f"{path}: {error.strerror}", "make room there; the same command resumes") from error
