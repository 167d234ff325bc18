"""The folders of a dataset's files and the callback that receives progress. No torch."""

import importlib.util
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


def locate_digits_file() -> Path | None:
    """Return scikit-learn's file of digits, or None if it is elsewhere. Does not import scikit-learn."""
    package = importlib.util.find_spec("sklearn")
    folders = (package.submodule_search_locations if package else None) or ()
    files = (Path(folder) / "datasets" / "data" / "digits.csv.gz" for folder in folders)
    return next((file for file in files if file.is_file()), None)


@dataclass(frozen=True)
class DataPaths:
    """The folder that the user names, if any, the default folder of downloads, and that of decoded images.

    If `may_fetch` is false, nothing is downloaded. If `tests_all` is true, all images of a dataset without a test split
    are its test images, as somebody evaluates on it who has trained elsewhere.
    """

    user_root: Path | None
    download_root: Path
    cache: Path
    progress: ProgressCallback = ignore_progress
    may_fetch: bool = True
    tests_all: bool = False

    @property
    def root(self) -> Path:
        """The folder of the downloaded files."""
        return self.user_root or self.download_root
