"""A run's folder: locked by one process, cleared for a fresh run, with errors of its disk translated."""

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
    """Another process works on the run."""


def clear_run_dir(folder: Path, *, keep_origin: bool = True) -> None:
    """Remove what an earlier run of this digest left, except its origin, by which its MLflow run is found."""
    kept_names = {".lock", "origin.json"} if keep_origin else {".lock"}
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in kept_names:
            path.unlink()


def is_in_use(folder: Path) -> bool:
    """Return whether a process holds the folder of a run, on another machine too if the disk shares locks."""
    try:
        with FileLock(folder / ".lock", timeout=0):
            return False
    except (Timeout, OSError):  # a disk without locks cannot tell
        return True


@contextmanager
def locked_run_dir(folder: Path, recipe: Recipe) -> Iterator[None]:
    """Lock the run's folder for this process alone. Raises RunInUseError if another has it, UserError if it cannot."""
    hint = "give a folder that can be written: --runs"
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", timeout=0)
        lock.acquire()
    except Timeout as error:
        problem = f"{folder}: another process works on this run ({format_run_title(recipe)}) now"
        raise RunInUseError(problem, "wait for it, or choose another seed") from error
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror or error}", hint) from error
    with lock:
        try:
            yield
        finally:
            if is_new and [p.name for p in folder.iterdir()] == [".lock"]:  # nothing began: remove the folder
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def translated_disk_errors(folder: Path) -> Iterator[None]:
    """Raise RunFailedError for a disk that is full or can no longer be written."""
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_ERRNOS:
            raise
        path = error.filename or folder
        raise RunFailedError(f"{path}: {error.strerror}", "make room there; the same command resumes") from error
