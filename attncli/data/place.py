"""Where a dataset's files lie and who hears of the progress; free of torch."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Progress = Callable[[str, int, int], None]  # (what, done, total)


def ignore(what: str, done: int, total: int) -> None:
    """Progress that nobody listens to."""


@dataclass(frozen=True)
class Place:
    """Folders of the files: the one the user names, if any, the one for downloads, the one for decoded images.

    Nothing is downloaded unless `fetch`.
    """

    given: Path | None
    default: Path
    cache: Path
    progress: Progress = ignore
    fetch: bool = True

    @property
    def root(self) -> Path:
        """The folder that downloaded files are in."""
        return self.given or self.default
