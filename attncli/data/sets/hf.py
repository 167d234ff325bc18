"""Any image dataset of the Hugging Face hub: data.of is its name there (`pip install 'attncli[hf]'`); downloaded.

It needs an image and a label; of several parts `train` and `test`, or `validation` as the test set, are taken, and
without either a fifth of each class, chosen by a fixed seed, is the test set. Images of different sizes need
data.image_size. data.root, where given, is the folder that gets the files.
"""

import io
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from attncli.data.dataset import Source
from attncli.data.files import File
from attncli.data.listing import Listing
from attncli.data.place import Place
from attncli.data.unsplit import fifth_as_test
from attncli.errors import UserError
from attncli.recipe import Data

PARTS = {"train": ("train",), "test": ("test", "validation", "valid", "val")}


def read(data: Data, place: Place) -> Source:
    """The dataset `data.of`. Raises UserError without a name or the library, and for one without images and labels."""
    if not data.of:
        raise UserError("data.of: the dataset 'hf' needs one", "--set data.of=USER/NAME, as on the hub")
    try:
        import datasets
    except ImportError as error:
        raise UserError("the dataset 'hf' needs the library datasets", "pip install 'attncli[hf]'") from error
    more = {} if place.fetch else {"download_config": datasets.DownloadConfig(local_files_only=True)}
    try:
        found = datasets.load_dataset(data.of, cache_dir=str(place.given) if place.given else None, **more)
    except Exception as error:  # the library's own and its network's errors are not a closed list
        raise UserError(f"hf: {data.of}: {(str(error).splitlines() or ['not found'])[0]}", "look on the hub") from error
    chosen = {part: next((n for n in names if n in found), None) for part, names in PARTS.items()}
    if chosen["train"] is None:
        raise UserError(f"hf: {data.of}: no part 'train'", f"it has {', '.join(found)}")
    listings = {part: _listing(part, found[name], datasets, data.of) for part, name in chosen.items() if name}
    return fifth_as_test(listings, Path("hf") / data.of, data, place, origin=f"hub: {data.of}")


def _listing(part: str, table: Any, library: Any, of: str) -> Listing:
    features = table.features
    image = next((n for n, f in features.items() if isinstance(f, library.Image)), None)
    label = next((n for n, f in features.items() if isinstance(f, library.ClassLabel)), None)
    if image is None or label is None:
        raise UserError(f"hf: {of}: no column of images and one of class labels", f"it has {', '.join(features)}")
    raw = table.cast_column(image, library.Image(decode=False))
    names = features[label].names
    groups: list[list[File]] = [[] for _ in names]
    mark = int(str(table._fingerprint), 16)  # changes with the content
    for row, number in enumerate(table[label]):
        groups[number].append(File(f"{part}#{row}", mark, 0))
    return Listing(part, tuple(names), tuple(map(tuple, groups)), partial(_open, raw, image))


def _open(table: Any, column: str, root: Path, file: File) -> Path | BinaryIO:
    cell = table[int(file.path.rpartition("#")[2])][column]
    return io.BytesIO(cell["bytes"]) if cell["bytes"] else Path(cell["path"])
