"""Any image dataset of the Hugging Face hub: data.of is its name there (`pip install 'attncli[hf]'`); downloaded.

It needs columns of images and labels. Its splits are train, test and validation, under any of their usual names;
without test, validation is the test set, without either one fifth of each class is, chosen by a fixed seed. Other
splits are refused unless data.unused_splits names them. data.configuration chooses one of several configurations.
Images of different sizes need data.image_size. data.root, if given, is the folder for the downloaded files.
"""

import io
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from attncli.data.dataset import DatasetSource
from attncli.data.images.files import ImageFile
from attncli.data.paths import DataPaths
from attncli.data.readers.image_files import make_image_source
from attncli.data.readers.image_folder import SplitListing
from attncli.data.readers.split_names import assign_splits
from attncli.errors import UserError
from attncli.recipe import Data

ORIGIN = "hub"


def read(data: Data, paths: DataPaths) -> DatasetSource:
    """Return the dataset `data.of`. Raises UserError without a name, the library `datasets`, images or labels."""
    if not data.of:
        raise UserError("data.of: the dataset 'hf' needs one", "--set data.of=USER/NAME, as on the hub")
    try:
        import datasets
    except ImportError as error:
        raise UserError("the dataset 'hf' needs the library datasets", "pip install 'attncli[hf]'") from error
    options: dict[str, Any] = {"cache_dir": str(paths.user_root) if paths.user_root else None}
    if data.configuration is not None:
        options["name"] = data.configuration
    if not paths.may_fetch:
        options["download_config"] = datasets.DownloadConfig(local_files_only=True)
    try:
        tables = datasets.load_dataset(data.of, **options)
    except Exception as error:  # the errors of the library and of the network are not a closed list
        problem = f"hf: {data.of}: {(str(error).splitlines() or ['not found'])[0]}"
        hint = "choose one: --set data.configuration=NAME" if "config" in problem.lower() else "look on the hub"
        raise UserError(problem, hint) from error
    table_names = assign_splits(tables, f"hf: {data.of}", data.unused_splits)
    if "train" not in table_names:
        raise UserError(f"hf: {data.of}: no split 'train'", f"it has {', '.join(tables)}")
    if "test" not in table_names and "val" in table_names:
        table_names["test"] = table_names.pop("val")
    listings = {split: _list_hub_split(split, tables[name], datasets, data.of) for split, name in table_names.items()}
    source = make_image_source(listings, Path("hf") / data.of, data, paths)
    return replace(source, origin=f"hub: {data.of}")


def _list_hub_split(split: str, table: Any, library: Any, hub_name: str) -> SplitListing:
    features = table.features
    image = next((column for column, feature in features.items() if isinstance(feature, library.Image)), None)
    label = next((column for column, feature in features.items() if isinstance(feature, library.ClassLabel)), None)
    if image is None or label is None:
        raise UserError(f"hf: {hub_name}: no columns of images and of class labels", f"it has {', '.join(features)}")
    raw = table.cast_column(image, library.Image(decode=False))
    names = features[label].names
    groups: list[list[ImageFile]] = [[] for _ in names]
    fingerprint = int(str(table._fingerprint), 16)  # changes with the content
    for row, number in enumerate(table[label]):
        groups[number].append(ImageFile(f"{split}#{row}", fingerprint, 0))
    return SplitListing(split, tuple(names), tuple(map(tuple, groups)), partial(_open_cell, raw, image))


def _open_cell(table: Any, column: str, root: Path, file: ImageFile) -> Path | BinaryIO:
    cell = table[int(file.path.rpartition("#")[2])][column]
    return io.BytesIO(cell["bytes"]) if cell["bytes"] else Path(cell["path"])
