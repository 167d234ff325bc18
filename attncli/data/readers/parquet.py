"""Parquet files of images: list them by reading schema and labels only, and read single images on demand."""

import io
import json
import re
from collections.abc import Collection, Sequence
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from attncli.data.images.files import ImageFile
from attncli.data.readers.image_folder import SplitListing
from attncli.data.readers.split_names import (
    choose_configuration,
    is_system_name,
    read_split_place,
    unknown_split_error,
)
from attncli.errors import UserError, suggest_name

LAYOUT = "columns image (a struct with `bytes`) and label (numbers or texts), as Hugging Face datasets write them"
_lock = Lock()


def list_parquet(
    root: Path, configuration: str | None = None, unused: Collection[str] = ()
) -> tuple[Path, dict[str, SplitListing]]:
    """Return the folder that the listings are relative to, and the listings; all splits but `train` may be missing.

    Args:
        root: a file, whose rows are all for training, or a folder of files that name their split.
        configuration: of several datasets in the folder, the one in the folder of this name.
        unused: names of splits to leave out.

    Raises:
        UserError: if there are no Parquet files, a file names no split, or the files have other columns.
    """
    if root.is_file():
        folder, split_paths = root.parent, {"train": [root]}
    else:
        folder, split_paths = root, _sort_by_split(root, configuration, unused)
    rows = {
        split: [row for path in members for row in _list_rows(folder, path)] for split, members in split_paths.items()
    }
    first_path = min(path for members in split_paths.values() for path in members)
    class_names = _read_class_names(first_path, [label for members in rows.values() for _, label in members])
    return folder, {split: _group_by_class(split, members, class_names) for split, members in rows.items()}


def _sort_by_split(root: Path, configuration: str | None, unused: Collection[str]) -> dict[str, list[Path]]:
    """Return the Parquet files of each split; if no name tells a split, the shards of one file are all `train`."""
    names = [path.relative_to(root).as_posix() for path in sorted(root.rglob("*.parquet"))]
    names = [name for name in names if not any(is_system_name(part) for part in name.split("/"))]
    if not names:
        raise UserError(f"{root}: no Parquet file", "--data-root FILE.parquet, or a folder of them")
    names = [name for name in names if not set(unused) & {name, *re.split(r"[-_./0-9]+", name), *name.split("/")}]
    places = choose_configuration({name: read_split_place(name) for name in names}, configuration, str(root))
    unknown = [name for name, place in places.items() if place.split is None]
    if len(unknown) == len(places) and len({re.sub(r"\d+", "0", name) for name in places}) == 1:
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
    if "test" not in split_paths and "val" in split_paths:
        split_paths["test"] = split_paths.pop("val")
    return split_paths


def _list_rows(folder: Path, path: Path) -> list[tuple[ImageFile, int | str]]:
    """Return a file and a label per row; only the labels are read."""
    file = _open_parquet(path)
    _, column = _find_columns(path, file)
    labels = file.read(columns=[column]).column(0).to_pylist()
    if None in labels or any(isinstance(label, int) and label < 0 for label in labels):
        raise UserError(f"{path}: rows without a label", "leave them out")
    stat, name = path.stat(), path.relative_to(folder)
    return [(ImageFile(f"{name}#{i}", stat.st_size, stat.st_mtime_ns), label) for i, label in enumerate(labels)]


def _open_parquet(path: Path) -> Any:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path}: not a Parquet file ({str(error).splitlines()[0]})", LAYOUT) from error


def _find_columns(path: Path, file: Any) -> tuple[str, str]:
    """Return the names of the columns of images and labels."""
    fields = {field.name: field.type for field in file.schema_arrow}
    images = [name for name, kind in fields.items() if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0]
    labels = [name for name, kind in fields.items() if pa.types.is_integer(kind) or pa.types.is_string(kind)]
    image = "image" if "image" in images else images[0] if len(images) == 1 else None
    label = "label" if "label" in labels else labels[0] if len(labels) == 1 else None
    for role, column in (("image", image), ("label", label)):
        if column is None:
            raise UserError(f"{path}: no column '{role}'", f"{LAYOUT}; {suggest_name(role, fields)}")
    return str(image), str(label)


def _read_class_names(path: Path, labels: Sequence[int | str]) -> list[str]:
    """Return the names of the classes by number: those of the schema if it has them, else the labels themselves."""
    if any(isinstance(label, str) for label in labels):
        return sorted({str(label) for label in labels})
    file = _open_parquet(path)
    metadata = json.loads((file.schema_arrow.metadata or {}).get(b"huggingface", b"{}"))
    feature = metadata.get("info", {}).get("features", {}).get(_find_columns(path, file)[1], {})
    count = max(int(label) for label in labels) + 1
    names = [str(name) for name in feature.get("names") or map(str, range(count))]
    if len(names) < count:
        raise UserError(f"{path}: label {count - 1}, but names for {len(names)} classes", "fix the schema")
    return names


def _group_by_class(
    split: str, rows: Sequence[tuple[ImageFile, int | str]], class_names: Sequence[str]
) -> SplitListing:
    """Return the rows sorted by class. Raises UserError for a class without images."""
    groups: list[list[ImageFile]] = [[] for _ in class_names]
    numbers = {name: i for i, name in enumerate(class_names)}
    for file, label in rows:
        groups[numbers[label] if isinstance(label, str) else label].append(file)
    empty = [name for name, files in zip(class_names, groups, strict=True) if not files]
    if empty and split == "train":
        raise UserError(f"no images of '{empty[0]}' in the split {split}", "each class needs one")
    return SplitListing(split, tuple(class_names), tuple(map(tuple, groups)), open_row)


def open_row(root: Path, file: ImageFile) -> BinaryIO:
    """Open the image of a row, named FILE#ROW."""
    name, _, row = file.path.rpartition("#")
    content = _read_image_bytes(root / name, int(row), file.changed_ns)
    if content is None:
        raise ValueError("no bytes in its row")
    return io.BytesIO(content)


def _read_image_bytes(path: Path, row: int, changed: int) -> bytes | None:
    with _lock:  # several threads may ask for the same row group
        starts = _list_group_starts(path, changed)
        group = max(i for i, start in enumerate(starts) if start <= row)
        content: bytes | None = _read_row_group(path, group, changed)[row - starts[group]].as_py()
        return content


@lru_cache(maxsize=256)
def _list_group_starts(path: Path, changed: int) -> list[int]:
    """Return the first row of each row group."""
    meta, starts = _open_parquet(path).metadata, [0]
    for i in range(meta.num_row_groups - 1):
        starts.append(starts[-1] + meta.row_group(i).num_rows)
    return starts


@lru_cache(maxsize=4)
def _read_row_group(path: Path, group: int, changed: int) -> Any:
    """Return the images of a row group; the cache keeps a few of them in memory."""
    file = _open_parquet(path)
    column, _ = _find_columns(path, file)
    return file.read_row_group(group, columns=[column]).column(0).combine_chunks().field("bytes")
