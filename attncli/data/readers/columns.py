"""The columns of a table of images: which of them holds the images and which the labels, and what a label means.

Tables come from many programs: labels may be whole numbers of any width, also as floats, truth values, or texts in any
of Arrow's types for them (large, view, dictionary). Images are bytes, in a struct or plain, or paths of files.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from attncli.data.readers.labelled_rows import Label
from attncli.data.readers.split_listing import check_class_name
from attncli.errors import UserError, unknown_name_error
from attncli.quantities import format_first, format_quantity
from attncli.recipe import Data

LAYOUT = "columns image (bytes, or a struct with `bytes`) and label (numbers or texts), as Hugging Face datasets have"
IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMNS = ("label", "labels")
SHOWN_COLUMNS = 12  # in an error
TypeTest = Callable[[pa.DataType], bool]


@dataclass(frozen=True)
class ColumnNames:
    """The columns that a recipe names (`data.image_column`, ...); None = found by name and type, for `group` none."""

    image: str | None = None
    label: str | None = None
    group: str | None = None


FOUND_BY_NAME = ColumnNames()


def name_columns(data: Data) -> ColumnNames:
    """Return the columns that a recipe names."""
    return ColumnNames(data.image_column, data.label_column, data.group_column)


def read_groups(column: pa.ChunkedArray, location: str) -> list[str]:
    """Return the group of each row as text. Raises UserError for rows without a group."""
    try:
        values = column.to_pylist()
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise UserError(f"{location}: the groups cannot be read: {describe_arrow_error(error)}", LAYOUT) from error
    return check_groups(values, location)


def check_groups(values: Sequence[object], location: str) -> list[str]:
    """Return the group of each row as text. Raises UserError for null, NaN and blank ones, which name no group."""
    missing = [row for row, value in enumerate(values, 1) if value is None or value != value or not str(value).strip()]
    if missing:
        raise UserError(
            f"{location}: {format_quantity(len(missing), 'row')} without a group, the first is row {missing[0]}",
            "leave these rows out of the file, or give each its own group",
        )
    return [str(value) for value in values]


def choose_columns(fields: Mapping[str, pa.DataType], wanted: ColumnNames, location: str) -> tuple[str, str]:
    """Return the names of the columns of images and labels.

    Without a wanted name, the usual names go first, then the only column of a fitting type.

    Args:
        fields: the type of each column.
        wanted: the names that the user gives.
        location: the file or dataset, for errors.

    Raises:
        UserError: for a wanted column that is missing or of another type, or if none or several columns fit.
    """
    label = wanted.label or _find_column(fields, LABEL_COLUMNS, _holds_labels, (_holds_classes, _holds_labels))
    return (
        choose_image_column(fields, wanted, location),
        _check_column("label", label, _holds_labels, LABEL_COLUMNS, fields, location),
    )


def choose_image_column(fields: Mapping[str, pa.DataType], wanted: ColumnNames, location: str) -> str:
    """Return the name of the column of images, as `choose_columns` does. Raises UserError as that does."""
    image = wanted.image or _find_column(fields, IMAGE_COLUMNS, _holds_images, (_holds_bytes,))
    return _check_column("image", image, _holds_images, IMAGE_COLUMNS, fields, location)


def _check_column(
    role: str,
    column: str | None,
    holds: TypeTest,
    usual: Sequence[str],
    fields: Mapping[str, pa.DataType],
    location: str,
) -> str:
    """Return the column of a role. Raises UserError if it is None, missing, or of another type than it `holds`."""
    key = f"data.{role}_column"
    if column is None:
        candidates = [name for name, kind in fields.items() if holds(kind)]
        unfit = next((name for name in usual if name in fields), None)
        problem = f"{location}: no column '{role}'"
        if unfit is not None:
            problem = f"{location}: the column '{unfit}' holds no {role}s but {fields[unfit]}"
        if len(candidates) > 1:
            problem = f"{location}: several columns may be the {role}: {', '.join(candidates)}"
        raise UserError(problem, f"name it: --set {key}=NAME; {LAYOUT}; columns: {_list_columns(fields)}")
    if column not in fields:
        raise unknown_name_error("column", column, fields, location=f"{location}: {key}")
    if not holds(fields[column]):
        raise UserError(f"{location}: the column '{column}' holds no {role}s but {fields[column]}", LAYOUT)
    return column


def read_class_names(metadata: Mapping[bytes, bytes] | None, column: str) -> list[str] | None:
    """Return the names of the classes that Hugging Face's metadata of a schema gives, or None.

    Metadata of another form than expected says nothing. Raises UserError for two classes of one name.
    """
    try:
        value: Any = json.loads((metadata or {}).get(b"huggingface", b"{}"))
    except ValueError:
        return None
    for key in ("info", "features", column, "names"):
        value = value.get(key) if isinstance(value, dict) else None
    if not isinstance(value, list) or not value or not all(isinstance(name, str | int) for name in value):
        return None
    names = [check_class_name(str(name), f"column '{column}'") for name in value]
    if len(set(names)) < len(names):
        raise UserError(f"column '{column}': two classes have the same name in the schema", "fix the schema")
    return names


def read_labels(column: pa.ChunkedArray, location: str) -> list[Label]:
    """Return the labels of a column as numbers or texts; truth values become the texts false and true.

    Raises UserError for rows without a label, broken numbers, and text that is not UTF-8.
    """
    try:
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        values = column.to_pylist()
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise UserError(f"{location}: the labels cannot be read: {describe_arrow_error(error)}", LAYOUT) from error
    missing = [row for row, value in enumerate(values) if _is_missing(value)]
    if missing:
        raise UserError(
            f"{location}: {format_quantity(len(missing), 'row')} without a label, the first is row {missing[0]}",
            "leave these rows out of the file, or name another column: --set data.label_column=NAME; if a whole split "
            "has no labels: --set 'data.unused_splits=[test]'",
        )
    if pa.types.is_boolean(column.type):
        return [str(value).lower() for value in values]
    if pa.types.is_floating(column.type):
        broken = next((value for value in values if not float(value).is_integer()), None)
        if broken is not None:
            raise UserError(f"{location}: the label {broken} is no class number", "labels are whole numbers or texts")
        return [int(value) for value in values]
    for value in set(values):
        if isinstance(value, str):
            check_class_name(value, location)
    return values


def _is_missing(value: object) -> bool:
    """Return whether a label says "none": null, NaN, a blank text, or a negative number, as in hidden test labels."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, int | float) and not value >= 0)


def describe_arrow_error(error: Exception) -> str:
    """Return the first line of an error of Arrow."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _find_column(
    fields: Mapping[str, pa.DataType], usual: Sequence[str], fits: TypeTest, preferred: Sequence[TypeTest]
) -> str | None:
    """Return the fitting column of a usual name, else the only one of the first preferred type that occurs, or None."""
    named = [name for name in usual if name in fields and fits(fields[name])]
    candidates = next(filter(None, ([n for n, kind in fields.items() if test(kind)] for test in preferred)), [])
    return named[0] if named else candidates[0] if len(candidates) == 1 else None


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)


def _holds_images(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 or kind.get_field_index("path") >= 0
    return _holds_bytes(kind) or is_string(kind)


def _holds_classes(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_integer(kind) or is_string(kind)


def _holds_labels(kind: pa.DataType) -> bool:
    value_kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return _holds_classes(kind) or pa.types.is_boolean(value_kind) or pa.types.is_floating(value_kind)


def is_string(kind: pa.DataType) -> bool:
    """Return whether a type of Arrow holds texts."""
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _list_columns(fields: Mapping[str, pa.DataType]) -> str:
    named = [f"{name} ({kind})" if len(str(kind)) < 30 else name for name, kind in fields.items()]
    return format_first(named, SHOWN_COLUMNS) or "none"
