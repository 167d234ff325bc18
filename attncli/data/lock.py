"""One process at a time: a sweep's jobs wait for the one that downloads or decodes instead of doing it again."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # not on Windows: there two processes may do the same work, and the last to rename wins
    fcntl = None  # type: ignore[assignment]  # mypy knows the module, not its absence


@contextmanager
def exclusive_lock(path: Path) -> Iterator[None]:
    """Hold the lock file `path` (made if need be); waits for another process that holds it.

    The system lets go of it when its holder dies, so a killed process blocks nobody.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
