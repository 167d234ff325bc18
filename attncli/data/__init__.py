"""Datasets: found by file name in `sets/` without loading torch, read into memory, batched and varied there.

Adding a dataset is adding a file to `sets/`: its docstring's first line describes it, and its function
`read(data, place) -> Source` names the classes and says how the images of a part are read.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from attncli.data.extent import Extent, extent, note
from attncli.data.find import HUB, NAMES
from attncli.data.place import Place, Progress, ignore
from attncli.recipe import Data

if TYPE_CHECKING:
    from attncli.data.dataset import Dataset
    from attncli.data.verdict import Verdict

__all__ = ["HUB", "NAMES", "Extent", "default_root", "extent", "load", "verify"]


def default_root() -> Path:
    """Where downloaded files lie unless told otherwise: $ATTNCLI_DATA, else ~/.cache/attncli/data."""
    return Path(os.environ.get("ATTNCLI_DATA") or "~/.cache/attncli/data").expanduser()


def load(recipe: Data, *, cache: Path, progress: Progress | None = None) -> "Dataset":
    """The dataset of a recipe: read, cut into train, validation and test, and held as uint8 tensors.

    `cache` is a folder for decoded images and the dataset's extent; it may be deleted at any time.
    `progress(what, done, total)` is called while files are downloaded (in bytes) or decoded (in images). Imports torch.
    Raises UserError for an unknown dataset, missing or unreadable files and impossible subsets.
    """
    from attncli.data.assemble import assemble

    root = Path(recipe.root).expanduser() if recipe.root else None
    found = assemble(recipe, Place(root, default_root(), cache, progress or ignore))
    note(cache, recipe, found)
    return found


def verify(recipe: Data, *, progress: Progress | None = None) -> "Verdict":
    """Whether a dataset is whole: layout, published counts and sums, every image file. Downloads nothing."""
    from attncli.data.verdict import verify as look

    root = Path(recipe.root).expanduser() if recipe.root else None
    return look(recipe, Place(root, default_root(), default_root(), progress or ignore, fetch=False))
