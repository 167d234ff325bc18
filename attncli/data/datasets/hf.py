"""Any image dataset of the Hugging Face hub: data.of is its name there (`pip install 'attncli[hf]'`); downloaded.

It needs columns of images and labels; data.image_column and data.label_column name them if there are several. Its
splits are train, test and validation, under any of their usual names; without test, validation is the test set, without
either one fifth of each class is, chosen by a fixed seed. Other splits are refused unless data.unused_splits names
them. data.configuration chooses one of several configurations.
Images of different sizes need data.image_size. data.root, if given, is the folder for the downloaded files.
"""

import hashlib
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from attncli.data.dataset import DatasetSource
from attncli.data.images.files import ImageFile
from attncli.data.paths import DataPaths
from attncli.data.readers.columns import ColumnNames, check_groups, name_columns, read_labels
from attncli.data.readers.image_files import make_image_source
from attncli.data.readers.labelled_rows import LabelledRows, group_by_class, rename_test_split
from attncli.data.readers.split_names import assign_splits, check_unused_splits
from attncli.errors import UserError, unknown_name_error
from attncli.recipe import Data

ORIGIN = "hub"
ALIASES = ("huggingface", "hub")


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
    check_unused_splits(data.unused_splits, list(tables), f"hf: {data.of}")
    table_names = assign_splits(tables, f"hf: {data.of}", data.unused_splits)
    if "train" not in table_names:
        raise UserError(f"hf: {data.of}: no split 'train'", f"it has {', '.join(tables)}")
    table_names = rename_test_split(table_names)
    wanted, location = name_columns(data), f"hf: {data.of}"
    columns = {split: _find_columns(tables[name], wanted, datasets, location) for split, name in table_names.items()}
    rows = {
        split: [_list_hub_rows(split, tables[name], columns[split][1], wanted.group, location)]
        for split, name in table_names.items()
    }
    listings = {
        split: replace(listing, opener=_make_cell_opener(tables[table_names[split]], columns[split][0], datasets))
        for split, listing in group_by_class(rows, location).items()
    }
    root = Path("/hf") / data.of  # no folder; absolute, so that the cache has one entry in whatever folder one works
    source = make_image_source(listings, root, data, paths)
    return replace(source, origin=f"hub: {data.of}")


def _find_columns(table: Any, wanted: ColumnNames, library: Any, location: str) -> tuple[str, str]:
    """Return the columns of images and labels: those that are wanted, else the first of the library's own types."""
    features = table.features
    kinds = (library.Image, library.ClassLabel)
    columns = []
    for column, kind, role in zip((wanted.image, wanted.label), kinds, ("image", "label"), strict=True):
        if column is not None and column not in features:
            raise unknown_name_error("column", column, features, location=f"{location}: data.{role}_column")
        candidates = [name for name, feature in features.items() if isinstance(feature, kind)]
        usual = [name for name in candidates if name in (role, "img", "labels")]
        chosen = column or next(iter(usual or candidates), None)
        if chosen is None or (role == "label" and column is None and not usual and len(candidates) > 1):
            raise UserError(
                f"{location}: {len(candidates)} columns of {'images' if role == 'image' else 'class labels'}",
                f"name one: --set data.{role}_column=NAME; it has {', '.join(features)}",
            )
        columns.append(chosen)
    return columns[0], columns[1]


def _list_hub_rows(split: str, table: Any, label: str, group: str | None, location: str) -> LabelledRows:
    """Return a file and a label per row of a split."""
    try:
        values = pa.chunked_array([pa.array(list(table[label]))])
    except (pa.ArrowException, OverflowError) as error:
        raise UserError(f"{location}: the column '{label}' holds no labels", "--set data.label_column=NAME") from error
    names = getattr(table.features[label], "names", None)
    labels = read_labels(values, f"{location}: {split}")
    fingerprint = int(hashlib.sha256(str(table._fingerprint).encode()).hexdigest()[:15], 16)  # changes with the content
    files = [ImageFile(f"{split}#{row}", fingerprint, 0) for row in range(len(labels))]
    if group is not None and group not in table.features:
        raise unknown_name_error("column", group, table.features, location=f"{location}: data.group_column")
    groups = check_groups(list(table[group]), f"{location}: {split}") if group is not None else None
    return LabelledRows(files, labels, list(names or ()), groups)


def _make_cell_opener(table: Any, column: str, library: Any) -> Callable[[Path, ImageFile], Path | BinaryIO]:
    """Return a function that opens the image of a row."""
    raw = table.cast_column(column, library.Image(decode=False))

    def open_cell(root: Path, file: ImageFile) -> Path | BinaryIO:
        cell = raw[int(file.path.rpartition("#")[2])][column]
        if not isinstance(cell, dict) or not (cell.get("bytes") or cell.get("path")):
            raise ValueError("no bytes in its row")
        return io.BytesIO(cell["bytes"]) if cell.get("bytes") else Path(cell["path"])

    return open_cell
