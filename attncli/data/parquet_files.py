"""Parquet files of images: what is in them, told from their schema and labels, and single images out of them."""

import io
import json
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from attncli.data.files import File
from attncli.data.listing import Listing
from attncli.errors import UserError, nearest

LAYOUT = "columns image (a struct with `bytes`) and label (numbers or texts), as Hugging Face's datasets write them"
PART = re.compile(r"(?:^|[-_./])(train|test|validation|valid|val)(?=[-_./0-9]|$)")
NAMES = {"validation": "val", "valid": "val"}
_lock = Lock()


def list_parquet(root: Path) -> tuple[Path, dict[str, Listing]]:
    """The folder that the listings are below, and the listings; a part may be missing, but `train`.

    Raises UserError where there are no Parquet files, they have other columns, or their classes differ.
    """
    folder = root if root.is_dir() else root.parent
    paths = sorted(root.rglob("*.parquet")) if root.is_dir() else [root] if root.is_file() else []
    if not paths:
        raise UserError(f"{root}: no Parquet file", "--data-root FILE.parquet, or a folder of them")
    parts: dict[str, list[Path]] = {}
    for path in paths:
        found = PART.search(str(path.relative_to(folder)))
        word = found.group(1) if found and len(paths) > 1 else "train"
        parts.setdefault(NAMES.get(word, word), []).append(path)
    if "train" not in parts:
        raise UserError(f"{root}: no file of the training part", f"`train` in its name; there are {', '.join(parts)}")
    if "test" not in parts and "val" in parts:
        parts["test"] = parts.pop("val")
    rows = {part: [row for path in some for row in _rows(folder, path)] for part, some in parts.items()}
    names = _names(paths[0], [label for some in rows.values() for _, label in some])
    return folder, {part: _listing(part, some, names) for part, some in rows.items()}


def _rows(folder: Path, path: Path) -> list[tuple[File, int | str]]:
    """A file and a label for each row; only the labels are read."""
    file = _opened(path)
    _, column = _columns(path, file)
    labels = file.read(columns=[column]).column(0).to_pylist()
    if None in labels or any(isinstance(label, int) and label < 0 for label in labels):
        raise UserError(f"{path}: rows without a label", "leave them out")
    stat, name = path.stat(), path.relative_to(folder)
    return [(File(f"{name}#{i}", stat.st_size, stat.st_mtime_ns), label) for i, label in enumerate(labels)]


def _opened(path: Path) -> Any:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path}: not a Parquet file ({str(error).splitlines()[0]})", LAYOUT) from error


def _columns(path: Path, file: Any) -> tuple[str, str]:
    """The names of the columns of images and labels."""
    fields = {field.name: field.type for field in file.schema_arrow}
    images = [n for n, t in fields.items() if pa.types.is_struct(t) and t.get_field_index("bytes") >= 0]
    labels = [n for n, t in fields.items() if pa.types.is_integer(t) or pa.types.is_string(t)]
    image = "image" if "image" in images else images[0] if len(images) == 1 else None
    label = "label" if "label" in labels else labels[0] if len(labels) == 1 else None
    for what, found in (("image", image), ("label", label)):
        if found is None:
            raise UserError(f"{path}: no column '{what}'", f"{LAYOUT}; {nearest(what, fields)}")
    return str(image), str(label)


def _names(path: Path, labels: Sequence[int | str]) -> list[str]:
    """The classes' names by number: of the schema where it has them, else the labels themselves."""
    if any(isinstance(label, str) for label in labels):
        return sorted({str(label) for label in labels})
    file = _opened(path)
    told = json.loads((file.schema_arrow.metadata or {}).get(b"huggingface", b"{}"))
    feature = told.get("info", {}).get("features", {}).get(_columns(path, file)[1], {})
    count = max(int(label) for label in labels) + 1
    names = [str(name) for name in feature.get("names") or map(str, range(count))]
    if len(names) < count:
        raise UserError(f"{path}: label {count - 1}, and names for {len(names)} classes", "mend the schema")
    return names


def _listing(part: str, rows: Sequence[tuple[File, int | str]], names: Sequence[str]) -> Listing:
    """The rows by class. Raises UserError for a class without images."""
    groups: list[list[File]] = [[] for _ in names]
    numbers = {name: i for i, name in enumerate(names)}
    for file, label in rows:
        groups[numbers[label] if isinstance(label, str) else label].append(file)
    empty = [name for name, some in zip(names, groups, strict=True) if not some]
    if empty and part == "train":
        raise UserError(f"no images of '{empty[0]}' in the part {part}", "each class needs one")
    return Listing(part, tuple(names), tuple(map(tuple, groups)), open_row)


def open_row(root: Path, file: File) -> BinaryIO:
    """The image of a row, named FILE#ROW."""
    name, _, row = file.path.rpartition("#")
    content = _image(root / name, int(row), file.changed)
    if content is None:
        raise ValueError("no bytes in its row")
    return io.BytesIO(content)


def _image(path: Path, row: int, changed: int) -> bytes | None:
    with _lock:  # several threads want the same group of rows
        starts = _starts(path, changed)
        group = max(i for i, start in enumerate(starts) if start <= row)
        content: bytes | None = _group(path, group, changed)[row - starts[group]].as_py()
        return content


@lru_cache(maxsize=256)
def _starts(path: Path, changed: int) -> list[int]:
    """The first row of each group of rows."""
    meta, starts = _opened(path).metadata, [0]
    for i in range(meta.num_row_groups - 1):
        starts.append(starts[-1] + meta.row_group(i).num_rows)
    return starts


@lru_cache(maxsize=4)
def _group(path: Path, group: int, changed: int) -> Any:
    """The images of a group of rows; a few groups at most are in memory."""
    file = _opened(path)
    column, _ = _columns(path, file)
    return file.read_row_group(group, columns=[column]).column(0).combine_chunks().field("bytes")
