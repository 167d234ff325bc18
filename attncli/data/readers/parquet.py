"""Parquet files of images: list them by reading schema and labels only, and read single images on demand."""

import io
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from attncli.data.images.files import ImageFile
from attncli.data.readers.base64_images import decode_base64_image
from attncli.data.readers.columns import (
    FOUND_BY_NAME,
    LAYOUT,
    ColumnNames,
    choose_columns,
    choose_image_column,
    describe_arrow_error,
    is_string,
    read_class_names,
    read_groups,
    read_labels,
)
from attncli.data.readers.file_walk import describe_file, is_file, walk_folder
from attncli.data.readers.labelled_rows import LabelledRows, group_by_class, rename_test_split, separate_rows
from attncli.data.readers.partitions import find_number_columns, read_partition_columns, remove_partitions
from attncli.data.readers.split_listing import SplitListing, check_class_name
from attncli.data.readers.split_names import (
    SPLIT_COLUMNS,
    check_unused_splits,
    choose_configuration,
    describe_unused_columns,
    read_split_place,
    unknown_split_error,
)
from attncli.errors import UserError, unknown_name_error
from attncli.system.failed_downloads import read_failed_download

MOST_SHOWN = 80  # characters of a text that is no path
_lock = Lock()


def list_parquet(
    root: Path,
    configuration: str | None = None,
    unused: Collection[str] = (),
    wanted: ColumnNames = FOUND_BY_NAME,
) -> tuple[Path, dict[str, SplitListing], tuple[str, ...]]:
    """Return the folder that the listings are relative to, the listings, and notes; only `train` must be there.

    Labels are matched by the names of their classes, whatever numbers these have in each file. The classes are those
    that have images, in the order of the first schema that names them. Folders such as label=cat are columns too.

    Args:
        root: a file or a folder of files; if the files name no split, a column `split` does, or all is for training.
        configuration: of several datasets in the folder, the one in the folder of this name.
        unused: names of splits to leave out.
        wanted: the columns that hold images and labels.

    Raises:
        UserError: if there are no Parquet files, a file names no split, or the files have other columns.
    """
    if root.is_file():
        folder, split_paths = root.parent, {"train": [root]}
    else:
        folder, split_paths = root, _sort_by_split(root, configuration, unused)
    paths = [path.relative_to(folder).as_posix() for members in split_paths.values() for path in members]
    numbers = find_number_columns(paths)
    rows = {
        split: [_list_rows(folder, path, wanted, numbers) for path in members] for split, members in split_paths.items()
    }
    words = {word for tables in rows.values() for table in tables for word in table.splits or ()}
    check_unused_splits(
        unused, words.union(*map(_list_name_parts, [] if root.is_file() else _list_parquet_files(root))), str(root)
    )
    notes = rows["train"][0].notes
    if words and set(rows) == {"train"} and all(table.splits is not None for table in rows["train"]):
        rows = _separate_by_column(dict(zip(split_paths["train"], rows["train"], strict=True)), root, unused)
    opener = partial(open_row, wanted=wanted)
    listings = {split: replace(listing, opener=opener) for split, listing in group_by_class(rows, str(root)).items()}
    return folder, listings, notes


def _separate_by_column(
    tables: Mapping[Path, LabelledRows], root: Path, unused: Collection[str]
) -> dict[str, list[LabelledRows]]:
    """Return the tables of each split, of files that name none, by their columns of splits.

    Raises UserError for a word that is no split, or if no row is for training.
    """
    parts: dict[str, list[LabelledRows]] = {}
    for path, table in tables.items():
        for split, part in separate_rows(table, str(path), unused).items():
            parts.setdefault(split, []).append(part)
    if "train" not in parts:
        raise UserError(f"{root}: no rows of the training split", f"its column of splits has: {', '.join(parts)}")
    return rename_test_split(parts)


def _sort_by_split(root: Path, configuration: str | None, unused: Collection[str]) -> dict[str, list[Path]]:
    """Return the Parquet files of each split; if no name tells a split, the shards of one file are all `train`."""
    names = _list_parquet_files(root)
    if not names:
        raise UserError(
            f"{root}: no Parquet file",
            "--data-root FILE.parquet, or a folder of them; --dataset folder reads folders of images",
        )
    names = [name for name in names if not set(unused) & _list_name_parts(name)]
    all_places = {name: read_split_place(remove_partitions(name)) for name in names}
    places = choose_configuration(all_places, configuration, str(root))
    unknown = [name for name, place in places.items() if place.split is None]
    if len(unknown) == len(places) and len({re.sub(r"\d+", "0", remove_partitions(name)) for name in places}) == 1:
        return {"train": [root / name for name in places]}
    if unknown:
        raise unknown_split_error(str(root), unknown, list(places))
    split_paths: dict[str, list[Path]] = {}
    for name, place in places.items():
        split_paths.setdefault(str(place.split), []).append(root / name)
    if "train" not in split_paths:
        raise UserError(
            f"{root}: no file of the training split", f"it has `train` in its name; found: {', '.join(split_paths)}"
        )
    return rename_test_split(split_paths)


def _list_parquet_files(root: Path) -> list[str]:
    """Return the Parquet files of a folder and of those in it, without hidden ones and those of the system."""
    return [file.path for file in walk_folder(root, "") if file.path.endswith(".parquet")]


def _list_name_parts(name: str) -> set[str]:
    """Return the texts by which data.unused_splits may name a file: its path, and the folders and words in it."""
    return {name, *re.split(r"[-_./0-9]+", name), *name.split("/")} - {"", "parquet"}


def _list_rows(folder: Path, path: Path, wanted: ColumnNames, numbers: Collection[str]) -> LabelledRows:
    """Return a file and a label per row; only the labels are read.

    Args:
        folder: the folder that the names of the files are relative to.
        path: the Parquet file.
        wanted: the columns that hold images and labels.
        numbers: the columns in the paths that hold whole numbers.
    """
    with translated_parquet_errors(path):
        file = pq.ParquetFile(path)
        stat, name = path.stat(), path.relative_to(folder)
        partitions = read_partition_columns(name.as_posix())
        image, label = choose_columns(dict.fromkeys(partitions, pa.string()) | _list_fields(file), wanted, str(path))
        if label in file.schema_arrow.names:
            labels = read_labels(file.read(columns=[label]).column(0), str(path))
        else:
            value = check_class_name(partitions[label], str(path))
            labels = [int(value) if label in numbers else value] * file.metadata.num_rows
        names = read_class_names(file.schema_arrow.metadata, label)
        groups = _read_group_column(file, wanted.group, partitions, str(path)) if wanted.group is not None else None
        split = _find_split_column(_list_fields(file), (image, label, wanted.group))
        splits = None if split is None else list(map(str, file.read(columns=[split]).column(0).to_pylist()))
        own_file = ImageFile(str(name), stat.st_size, stat.st_mtime_ns, stat.st_ino ^ stat.st_ctime_ns)
        row_files = _stat_named_files(file, image, path.parent, own_file) or [own_file] * len(labels)
    files = [ImageFile(f"{name}#{row}", *row_file[1:]) for row, row_file in enumerate(row_files)]
    notes = describe_unused_columns(file.schema_arrow.names, (image, label, wanted.group, *SPLIT_COLUMNS), path.name)
    return LabelledRows(files, labels, names or [], groups, splits, notes)


def _find_split_column(fields: Mapping[str, pa.DataType], used: Collection[str | None]) -> str | None:
    """Return the column of texts that tells the split of each row, or None; `used` ones mean something else."""
    kinds = {name: kind.value_type if pa.types.is_dictionary(kind) else kind for name, kind in fields.items()}
    texts = [name for name, kind in kinds.items() if is_string(kind) and name not in used]
    return next((name for word in SPLIT_COLUMNS for name in texts if name.lower() == word), None)


def _read_group_column(file: Any, column: str, partitions: dict[str, str], location: str) -> list[str]:
    """Return the group of each row. Raises UserError if there is no such column, or a row has no group."""
    if column in file.schema_arrow.names:
        return read_groups(file.read(columns=[column]).column(0), location)
    if column not in partitions:
        known = [*file.schema_arrow.names, *partitions]
        raise unknown_name_error("column", column, known, f"{location}: data.group_column")
    return [partitions[column]] * file.metadata.num_rows


def _stat_named_files(file: Any, image: str, folder: Path, own_file: ImageFile) -> list[ImageFile] | None:
    """Return the file of each row if the rows hold texts instead of bytes, else None.

    A text is the path of a file, or an image in base64, which is part of the Parquet file, `own_file`, itself.
    """
    kind = file.schema_arrow.field(image).type
    if is_string(kind):
        paths = file.read(columns=[image]).column(0).to_pylist()
    elif not pa.types.is_struct(kind) or kind.get_field_index("path") < 0:
        return None
    elif _holds_nulls_only(file.metadata, f"{image}.bytes"):
        cells = file.read(columns=[f"{image}.path"]).column(0).to_pylist()
        paths = [cell["path"] if cell else None for cell in cells]
    else:
        return None
    return [
        own_file
        if isinstance(path, str) and decode_base64_image(path)
        else describe_file(folder / str(path), str(path))
        for path in paths
    ]


def _holds_nulls_only(metadata: Any, leaf: str) -> bool:
    """Return whether the statistics of a Parquet file say that a leaf column has no values, or it does not exist."""
    groups = (metadata.row_group(i) for i in range(metadata.num_row_groups))
    chunks = (group.column(i) for group in groups for i in range(group.num_columns))
    return all(
        chunk.statistics is not None and chunk.statistics.null_count == chunk.num_values
        for chunk in chunks
        if chunk.path_in_schema == leaf
    )


def _list_fields(file: Any) -> dict[str, pa.DataType]:
    return dict(zip(file.schema_arrow.names, file.schema_arrow.types, strict=True))


@contextmanager
def translated_parquet_errors(path: Path) -> Iterator[None]:
    """Turn what Arrow and the disk raise for a file that is broken or no Parquet file into a UserError."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = read_failed_download(path) or describe_arrow_error(error)
        raise UserError(f"{path}: not a readable Parquet file ({reason})", LAYOUT) from error


def open_row(root: Path, file: ImageFile, wanted: ColumnNames = FOUND_BY_NAME) -> BinaryIO | Path:
    """Open the image of a row, named FILE#ROW: its bytes, also as base64, or the file that it names.

    Raises ValueError if the row has neither.
    """
    name, _, row = file.path.rpartition("#")
    parquet_path = root / name
    cell = _read_cell(parquet_path, int(row), parquet_path.stat().st_mtime_ns, wanted)
    content, path = (cell.get("bytes"), cell.get("path")) if isinstance(cell, dict) else (cell, None)
    if isinstance(content, str):
        content, path = None, content
    if isinstance(content, bytes) and content:
        return io.BytesIO(content)
    if not isinstance(path, str) or not path:
        raise ValueError("no bytes in its row")
    if (decoded := decode_base64_image(path)) is not None:
        return io.BytesIO(decoded)
    image_path = parquet_path.parent / path
    if not is_file(image_path):
        raise ValueError(f"no bytes in its row, and its path {path[:MOST_SHOWN]} is no file")
    return image_path


def _read_cell(path: Path, row: int, changed: int, wanted: ColumnNames) -> Any:
    with _lock:  # several threads may ask for the same row group
        starts = _list_group_starts(path, changed)
        group = max(i for i, start in enumerate(starts) if start <= row)
        return _read_row_group(path, group, changed, wanted)[row - starts[group]].as_py()


@lru_cache(maxsize=256)
def _list_group_starts(path: Path, changed: int) -> list[int]:
    """Return the first row of each row group."""
    meta, starts = pq.ParquetFile(path).metadata, [0]
    for i in range(meta.num_row_groups - 1):
        starts.append(starts[-1] + meta.row_group(i).num_rows)
    return starts


@lru_cache(maxsize=4)
def _read_row_group(path: Path, group: int, changed: int, wanted: ColumnNames) -> Any:
    """Return the images of a row group; the cache keeps a few of them in memory."""
    file = pq.ParquetFile(path)
    column = choose_image_column(_list_fields(file), wanted, str(path))
    return file.read_row_group(group, columns=[column]).column(0)
