"""Lists of images in text files: a path and a label per line, with or without a header (CSV, TSV, plain text).

Also read: a column per class of which one is 1 (Roboflow's _classes.csv), paths without suffix or folder (Kaggle's
train.csv with image ids), and JSON lines (Hugging Face's metadata.jsonl).
"""

import csv
import io
import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from attncli.data.readers.base64_images import BASE64_HINT
from attncli.data.readers.columns import ColumnNames, check_groups
from attncli.data.readers.foreign_files import CONVERT_HINT
from attncli.data.readers.label_files import read_lines
from attncli.data.readers.split_listing import check_class_name
from attncli.data.readers.split_names import SPLIT_COLUMNS, describe_unused_columns
from attncli.errors import UserError, quote_word, unknown_name_error
from attncli.quantities import format_quantity

LAYOUT = "a header and a line per image, such as `path,label`; or lines `PATH LABEL` without a header"
SUFFIXES = (".csv", ".tsv", ".txt", ".jsonl")
# Usual names of columns, without the signs that programs put between words (image_path, Image Path).
IMAGE_COLUMNS = ("path", "paths", "imagepath", "imagepaths", "filepath", "filepaths", "filename", "filenames", "file",
                 "image", "img", "imgpath", "imagename", "imagenames", "imageid", "id", "idcode", "name", "images",
                 "files", "imgs")  # fmt: skip
LABEL_COLUMNS = ("label", "labels", "class", "classname", "category", "target", "classid", "labelid", "classlabel", "y")
DELIMITERS = (",", "\t", ";", "|")
IMAGE_ENDING = re.compile(r"\.(jpe?g|png|bmp|gif|tiff?|webp|ppm|pgm|avif|heic|jp2)$", re.IGNORECASE)
PIXEL_COLUMN = re.compile(r"(pixel|px)[ _-]?\d+", re.IGNORECASE)


@dataclass(frozen=True)
class PathTable:
    """A list as a table: the names of its columns and the cells of each row, without spaces around them.

    `has_header` is whether the first line of the file names the columns.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    has_header: bool

    def read_column(self, name: str) -> list[str]:
        """Return the cells of a column."""
        index = self.columns.index(name)
        return [row[index] for row in self.rows]


@dataclass(frozen=True)
class LabelledPaths:
    """The path and the label of each image of a list, and what its column of splits says, if it has one.

    `notes` has lines about columns that are not used.
    """

    paths: list[str]
    labels: list[str]
    splits: list[str] | None = None
    groups: list[str] | None = None
    notes: tuple[str, ...] = ()


def read_path_table(path: Path, wanted: ColumnNames) -> PathTable:
    """Return the table of a list. If its first line names no column, the columns are path and label.

    Raises UserError for a file that is no text, has no rows, or has rows of different lengths.
    """
    lines = [line for line in read_lines(path, LAYOUT) if line.strip()]
    if not lines:
        raise UserError(f"{path}: no lines in it", LAYOUT)
    is_json = path.suffix.lower() in (".json", ".jsonl") or lines[0].lstrip().startswith("{")
    try:
        rows = _split_json_lines(lines) if is_json else _split_lines(lines)
    except (csv.Error, ValueError, RecursionError) as error:
        hint = f"{LAYOUT}; {BASE64_HINT}" if "field limit" in str(error) else LAYOUT
        if any('"annotations"' in line for line in lines):
            raise UserError(f"{path}: one JSON text, as COCO has, and not a line per image", CONVERT_HINT) from error
        raise UserError(f"{path}: not a readable table: {error}", hint) from error
    if not rows:
        raise UserError(f"{path}: no lines in it but that of the delimiter", LAYOUT)
    _check_no_pixels(rows[0], path)
    has_header = is_json or _is_header(rows[0], wanted)
    numbered = ("path", "label", *(f"column {i}" for i in range(2, len(rows[0]))))
    if not has_header and all(len(row) > 1 and _is_image_second(row) for row in rows):
        numbered = ("label", "path", *numbered[2:])
    columns = tuple(rows[0]) if has_header else numbered[: len(rows[0])]
    body = [_cut_empty_end(row, len(columns)) for row in (rows[1:] if has_header else rows)]
    broken = next((number for number, row in enumerate(body, 1 + has_header) if len(row) != len(columns)), None)
    if broken is not None:
        raise UserError(f"{path}: line {broken} has another number of columns than the first", LAYOUT)
    if not body or len(columns) != len(set(columns)):
        raise UserError(f"{path}: {'two columns of one name' if body else 'no images in it'}", LAYOUT)
    return PathTable(path, columns, tuple(map(tuple, body)), has_header)


def _is_header(cells: Sequence[str], wanted: ColumnNames) -> bool:
    """Return whether a first line names columns: a wanted one, or a usual one and no file."""
    is_known = any(_fold(cell) in IMAGE_COLUMNS for cell in cells) and not any(map(IMAGE_ENDING.search, cells))
    return is_known or any(cell in (wanted.image, wanted.label) for cell in cells)


def _is_image_second(cells: Sequence[str]) -> bool:
    """Return whether the second cell names an image and the first does not, as in `0 cat/1.png`."""
    return bool(IMAGE_ENDING.search(cells[1])) and not IMAGE_ENDING.search(cells[0])


def _fold(name: str) -> str:
    """Return the name of a column in lower case, without signs between its words."""
    return re.sub(r"[ _-]", "", name).lower()


def _check_no_pixels(cells: Sequence[str], path: Path) -> None:
    """Raise UserError if the first line names a column per pixel, or one of all pixels, as MNIST in CSV has."""
    names = [_fold(cell) for cell in cells]
    if sum(map(bool, map(PIXEL_COLUMN.fullmatch, cells))) > 1 or (
        "pixels" in names and not set(names) & set(IMAGE_COLUMNS)
    ):
        raise UserError(f"{path}: a table of pixels, not of paths of images", CONVERT_HINT)


def _split_words(lines: Sequence[str]) -> list[list[str]]:
    """Return path and label of lines without a delimiter; a line of one word is a path.

    One of the two may have spaces: the class, if the first words all differ and no image ends in a later word.
    """
    texts = [line.strip() for line in lines]
    others = [text.split()[1:] for text in texts]
    first_words = {text.split(None, 1)[0] for text in texts}
    has_spaces_in_class = (
        any(len(words) > 1 for words in others)
        and len(first_words) == len(texts)
        and not any(IMAGE_ENDING.search(word) for words in others for word in words)
    )
    return [text.split(None, 1) if has_spaces_in_class else text.rsplit(None, 1) for text in texts]


def _split_lines(lines: Sequence[str]) -> list[list[str]]:
    """Return the cells of each line; without a delimiter, the path and the label (see `_split_words`).

    If the first line has several signs that may be the delimiter, it is one that gives all lines the same length.
    Excel may name it in a first line `sep=;`. Lines of # at the top that are no rows are left out.
    """
    if named := re.fullmatch(r'"?sep=(.)"?', lines[0].strip()):
        return _split_at(lines[1:], named[1])
    lines = _skip_comments(lines)
    signs = [sign for sign in DELIMITERS if sign in lines[0]]
    if not signs:
        return _split_words(lines)
    tables = (_split_at(lines, sign) for sign in signs)
    even = next((rows for rows in tables if len(set(map(len, rows))) == 1), None) if len(signs) > 1 else None
    return _split_at(lines, signs[0]) if even is None else even


def _skip_comments(lines: Sequence[str]) -> Sequence[str]:
    """Return the lines without those at the top that begin with # and are no rows.

    They lack the delimiters of the first other line, or if it has none, the ending of an image.
    """
    first = next((number for number, line in enumerate(lines) if not line.startswith("#")), 0)
    signs = [sign for sign in DELIMITERS if first and sign in lines[first]]
    is_comment = not any(sign in line for sign in signs for line in lines[:first])
    if not signs:
        is_comment = not any(IMAGE_ENDING.search(word) for line in lines[:first] for word in line.split())
    return lines[first:] if is_comment else lines


def _split_json_lines(lines: Sequence[str]) -> list[list[str]]:
    """Return a header and the cells of each line, which is a mapping in JSON; lists and mappings in it are left out.

    One JSON text for all images is read too: a list of such mappings, or a mapping from paths to labels. Raises
    ValueError if a line is no mapping of texts or numbers.
    """
    if lines[0].lstrip().startswith("["):
        entries = json.loads("\n".join(lines))
    elif len(lines) == 1 or lines[0].strip() == "{":
        entry = json.loads("\n".join(lines))
        has_paths = isinstance(entry, dict) and any(map(IMAGE_ENDING.search, entry))
        entries = [{"path": path, "label": label} for path, label in entry.items()] if has_paths else [entry]
    else:
        entries = [json.loads(line) for line in lines]
    if not all(isinstance(entry, dict) for entry in entries):
        raise ValueError("JSON without a mapping per line")
    nested = {key for entry in entries for key, value in entry.items() if isinstance(value, list | dict)}
    columns = [key for key in dict.fromkeys(key for entry in entries for key in entry) if key not in nested]
    if not columns:
        raise ValueError("JSON without texts or numbers by name in each line")
    return [
        columns,
        *(["" if entry.get(key) is None else str(entry[key]).strip() for key in columns] for entry in entries),
    ]


def _split_at(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    table = csv.reader(io.StringIO("\n".join(lines)), delimiter=delimiter, skipinitialspace=True)
    return [[cell.strip() for cell in row] for row in table if row]


def _cut_empty_end(cells: list[str], width: int) -> list[str]:
    """Return the cells of a row without empty ones beyond the last column, which some programs write."""
    return cells if any(cells[width:]) else cells[:width]


def read_labelled_paths(table: PathTable, wanted: ColumnNames) -> LabelledPaths | None:
    """Return paths and labels of a list, or None if it has no labels, as Kaggle's test lists.

    In a list of paths only, the classes are the folders of the images, if there are several.

    Raises UserError for a wanted column that is missing, rows without a label or group or with several, and unfit
    names.
    """
    image = _find_column(table, wanted.image, IMAGE_COLUMNS, "data.image_column") or table.columns[0]
    label = _find_column(table, wanted.label, LABEL_COLUMNS, "data.label_column")
    group = _find_column(table, wanted.group, (), "data.group_column")
    split = _find_column(table, None, SPLIT_COLUMNS, "", taken=(image, label, group))
    others = [name for name in table.columns if name not in (image, split, group)]
    if label is not None:
        labels = table.read_column(label)
    elif len(others) == 1:
        label = others[0]
        labels = table.read_column(label)
    elif others:
        labels = _join_class_columns(table, others)
    else:
        labels = [_parse_folder(path) for path in table.read_column(image)]
        if len(set(labels)) < 2:
            return None
    empty = [number for number, text in enumerate(labels, 1) if not text]
    if empty:
        raise UserError(
            f"{table.path}: {format_quantity(len(empty), 'row')} without a label, the first is row {empty[0]}",
            "leave these rows out",
        )
    for text in set(labels):
        check_class_name(text, str(table.path))
    groups = check_groups(table.read_column(group), str(table.path)) if group else None
    used = (image, split, group, *(others if label is None else (label,)))
    notes = describe_unused_columns(table.columns, used, table.path.name)
    if label is not None and wanted.label is None:
        notes += _describe_other_labels(table, label)
    if label is None and not others:
        notes = (*notes, f"{table.path.name}: a list of paths only: the folder of each image is its class")
    return LabelledPaths(table.read_column(image), labels, table.read_column(split) if split else None, groups, notes)


def _describe_other_labels(table: PathTable, label: str) -> tuple[str, ...]:
    """Return a line if the usual name of a column of labels is that of several columns."""
    fitting = [name for name in table.columns if name != label and _fold(name) in LABEL_COLUMNS]
    if _fold(label) not in LABEL_COLUMNS or not fitting:
        return ()
    key = quote_word(f"data.label_column={fitting[0]}")
    return (f"{table.path.name}: classes from the column '{label}'; --set {key} takes another",)


def _parse_folder(text: str) -> str:
    """Return the name of the folder of an image, an empty text if it has none."""
    return PurePath(text.replace("\\", "/")).parent.name


def _find_column(
    table: PathTable, wanted: str | None, usual: Sequence[str], key: str, taken: Collection[str | None] = ()
) -> str | None:
    """Return the wanted column, else the first with a usual name that has no other use, or None.

    Raises UserError if the wanted column, which the key `key` names, is not there.
    """
    if wanted is not None:
        if wanted not in table.columns:
            raise unknown_name_error("column", wanted, table.columns, location=f"{table.path}: {key}")
        return wanted
    free = [name for name in table.columns if name not in taken]
    return next((name for word in usual for name in free if _fold(name) == word), None)


def _join_class_columns(table: PathTable, columns: Sequence[str]) -> list[str]:
    """Return the class of each row of a table with a column per class, of which one is 1."""
    cells = list(zip(*(table.read_column(name) for name in columns), strict=True))
    if any(set(row) - {"0", "1", "0.0", "1.0"} for row in cells):
        hint = f"name it: --set data.label_column=NAME; columns: {', '.join(table.columns)}"
        raise UserError(f"{table.path}: no column of labels", hint)
    chosen = [[name for name, cell in zip(columns, row, strict=True) if float(cell) == 1] for row in cells]
    unfit = [number for number, names in enumerate(chosen, 1) if len(names) != 1]
    if unfit:
        raise UserError(
            f"{table.path}: {format_quantity(len(unfit), 'row')} with no class or several, the first is row {unfit[0]}",
            "a classifier needs one class per image: leave these rows out",
        )
    return [names[0] for names in chosen]
