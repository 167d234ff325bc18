"""Columns in the paths of a table's files, as Hive, Spark, polars and DuckDB write them: label=cat/0.parquet."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import PurePosixPath
from urllib.parse import unquote

from attncli.errors import UserError

SPLIT_KEYS = frozenset({"split", "set", "subset", "part", "partition"})  # their values are read as names of splits
NULL = "__HIVE_DEFAULT_PARTITION__"


def read_partition_columns(path: str) -> dict[str, str]:
    """Return the columns in the folders of a relative path, with their values: {"label": "cat"}; no splits.

    Raises UserError for a folder of rows that have no value.
    """
    columns = {}
    for folder in PurePosixPath(path).parts[:-1]:
        if _is_column(folder):
            key, _, value = folder.partition("=")
            if value in ("", NULL):
                raise UserError(f"{path}: its rows have no '{key}'", "leave this folder out, or give its rows one")
            columns[key] = unquote(value)
    return columns


def remove_partitions(path: str) -> str:
    """Return a relative path without the folders that are columns: a value such as label=train names no split."""
    folder = PurePosixPath(path)
    return "/".join([*(part for part in folder.parts[:-1] if not _is_column(part)), folder.name])


def find_number_columns(paths: Iterable[str]) -> set[str]:
    """Return the columns in these paths of which all values are whole numbers: 0 is one, 00 and a0 are not."""
    values = defaultdict(set)
    for path in paths:
        for key, value in read_partition_columns(path).items():
            values[key].add(value)
    return {key for key, texts in values.items() if all(map(_is_number, texts))}


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and str(int(text)) == text


def _is_column(folder: str) -> bool:
    key, sign, _ = folder.partition("=")
    return bool(key and sign) and key.lower() not in SPLIT_KEYS
