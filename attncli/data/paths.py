"""Where a dataset's files lie and who hears of the progress; free of torch."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ProgressCallback = Callable[[str, int, int], None]  # (what, done, total)


def ignore_progress(activity: str, completed: int, total: int) -> None:
    """Progress that nobody listens to."""


@dataclass(frozen=True)
class DataPaths:
    """Folders of the files: the one the user names, if any, the one for downloads, the one for decoded images.

    Nothing is downloaded unless `may_fetch`.
    """

    user_root: Path | None
    download_root: Path
    cache: Path
    progress: ProgressCallback = ignore_progress
    may_fetch: bool = True

    @property
    def root(self) -> Path:
        """The folder that downloaded files are in."""
        return self.user_root or self.download_root
