"""The folders of a dataset's files and the callback that receives progress. No torch."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from attncli.system.files import expand_user_path

ProgressCallback = Callable[[str, int, int], None]  # (activity, completed, total)


def ignore_progress(activity: str, completed: int, total: int) -> None:
    """Do nothing with the progress."""


def find_default_root() -> Path:
    """Return the default folder of downloads: $ATTNCLI_DATA, else ~/.cache/attncli/data."""
    return expand_user_path(os.environ.get("ATTNCLI_DATA") or "~/.cache/attncli/data", "ATTNCLI_DATA")


@dataclass(frozen=True)
class DataPaths:
    """The folder that the user names, if any, the default folder of downloads, and that of decoded images.

    If `may_fetch` is false, nothing is downloaded.
    """

    user_root: Path | None
    download_root: Path
    cache: Path
    progress: ProgressCallback = ignore_progress
    may_fetch: bool = True

    @property
    def root(self) -> Path:
        """The folder of the downloaded files."""
        return self.user_root or self.download_root
