"""Rows of tables, each an image and a label, sorted into the classes of a dataset."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from attncli.data.images.files import ImageFile
from attncli.data.readers.split_listing import SplitListing
from attncli.data.readers.split_names import assign_splits
from attncli.errors import UserError
from attncli.quantities import format_quantity

T = TypeVar("T")
Label = int | str  # a class number, or the name of a class


@dataclass(frozen=True)
class LabelledRows:
    """The images of one table and their labels, with the names of the classes in the table's own order, if any.

    `groups` and `splits` have the group of each image, and the word for its split, if the table has such a column.
    `notes` has lines about columns that are not used.
    """

    files: list[ImageFile]
    labels: list[Label]
    names: list[str]
    groups: list[str] | None = None
    splits: list[str] | None = None
    notes: tuple[str, ...] = ()


def separate_rows(rows: LabelledRows, location: str, unused: Collection[str]) -> dict[str, LabelledRows]:
    """Return the rows of each split, by the table's own column. Raises UserError for a word that is no split.

    Words in `unused` are left out.
    """
    words, separated = rows.splits or [], {}
    for split, word in assign_splits(words, location, unused).items():
        chosen = [row for row, text in enumerate(words) if text == word]
        files, labels = [rows.files[row] for row in chosen], [rows.labels[row] for row in chosen]
        groups = rows.groups and [rows.groups[row] for row in chosen]
        separated[split] = replace(rows, files=files, labels=labels, groups=groups, splits=None)
    return separated


def rename_test_split(tables: Mapping[str, T]) -> dict[str, T]:
    """Return the splits with `val` as the test set if there is no `test`."""
    if "test" in tables or "val" not in tables:
        return dict(tables)
    return {("test" if split == "val" else split): table for split, table in tables.items()}


def group_by_class(tables: Mapping[str, Sequence[LabelledRows]], location: str) -> dict[str, SplitListing]:
    """Return the listing of each split, its images sorted by class.

    The classes are those that have images in any split, in the order of the first table that names them; other labels
    follow, sorted. So labels are matched by the names of their classes, whatever their numbers in each table.

    Args:
        tables: the tables of each split, those of `train` included.
        location: the file, folder or dataset, for errors.

    Raises:
        UserError: if some labels are numbers and some are names, or a number has no name.
    """
    tables = _name_labels(tables, location)
    ordered = [*tables["train"], *(table for split, members in tables.items() if split != "train" for table in members)]
    classes = _order_classes(
        (label for table in ordered for label in table.labels),
        (name for table in ordered for name in table.names),
        location,
    )
    return {split: _make_listing(split, members, classes) for split, members in tables.items()}


def _name_labels(tables: Mapping[str, Sequence[LabelledRows]], location: str) -> dict[str, list[LabelledRows]]:
    """Return the tables with the names of classes as labels; texts, and numbers of tables without names, stay.

    With k names, labels from 1 to k count from 1. All tables with the same names decide this together, as one of them
    may lack the last class. Raises UserError for a number that has no name.
    """
    numbers_by_names: dict[tuple[str, ...], set[int]] = {}
    for table in (table for members in tables.values() for table in members):
        numbers = {label for label in table.labels if isinstance(label, int)}
        numbers_by_names.setdefault(tuple(table.names), set()).update(numbers)
    first_by_names: dict[tuple[str, ...], int] = {}
    for names, numbers in numbers_by_names.items():
        if not names or not numbers:
            continue
        first_by_names[names] = 1 if max(numbers) == len(names) and min(numbers) > 0 else 0
        if max(numbers) - first_by_names[names] >= len(names):
            problem = f"label {max(numbers)}, but names for {format_quantity(len(names), 'class')}"
            raise UserError(f"{location}: {problem}", "fix the schema")
    return {
        split: [_replace_numbers(table, first_by_names.get(tuple(table.names))) for table in members]
        for split, members in tables.items()
    }


def _replace_numbers(table: LabelledRows, first: int | None) -> LabelledRows:
    """Return a table with names in place of class numbers that count from `first`; with None, unchanged."""
    if first is None:
        return table
    labels: list[Label] = [table.names[label - first] if isinstance(label, int) else label for label in table.labels]
    return replace(table, labels=labels)


def _make_listing(split: str, tables: Sequence[LabelledRows], classes: Sequence[Label]) -> SplitListing:
    """Return the images of a split sorted by class, with their groups if all tables have them."""
    files: dict[Label, list[ImageFile]] = {label: [] for label in classes}
    groups: dict[Label, list[str]] = {label: [] for label in classes}
    for table in tables:
        for row, (file, label) in enumerate(zip(table.files, table.labels, strict=True)):
            files[label].append(file)
            groups[label].append(table.groups[row] if table.groups else "")
    return SplitListing(
        split,
        tuple(map(str, classes)),
        tuple(map(tuple, files.values())),
        groups=tuple(map(tuple, groups.values())) if all(table.groups is not None for table in tables) else None,
    )


def _order_classes(labels: Iterable[Label], names: Iterable[str], location: str) -> list[Label]:
    present = set(labels)
    numbers = {label for label in present if isinstance(label, int)}
    if numbers and numbers != present:
        raise UserError(
            f"{location}: some files have class numbers, others the names of classes", "use one of the two in all files"
        )
    named = [name for name in dict.fromkeys(names) if name in present]
    return [*named, *sorted(numbers), *sorted(str(label) for label in present - numbers - set(named))]
