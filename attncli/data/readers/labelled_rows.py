"""Rows of tables, each an image and a label, sorted into the classes of a dataset."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from attncli.data.images.files import ImageFile
from attncli.data.readers.image_folder import SplitListing
from attncli.errors import UserError

Label = int | str  # a class number, or the name of a class


@dataclass(frozen=True)
class LabelledRows:
    """The images of one table and their labels, with the names of the classes in the table's own order, if any."""

    files: list[ImageFile]
    labels: list[Label]
    names: list[str]


def group_by_class(tables: Mapping[str, Sequence[LabelledRows]], location: str) -> dict[str, SplitListing]:
    """Return the listing of each split, its images sorted by class.

    The classes are those that have images in any split, in the order of the first table that names them; other labels
    follow, sorted. So labels are matched by the names of their classes, whatever their numbers in each table.

    Args:
        tables: the tables of each split, those of `train` included.
        location: the file, folder or dataset, for errors.

    Raises:
        UserError: if some labels are numbers and some are names.
    """
    ordered = [*tables["train"], *(table for split, members in tables.items() if split != "train" for table in members)]
    classes = _order_classes(
        (label for table in ordered for label in table.labels),
        (name for table in ordered for name in table.names),
        location,
    )
    listings = {}
    for split, members in tables.items():
        groups: dict[Label, list[ImageFile]] = {label: [] for label in classes}
        for table in members:
            for file, label in zip(table.files, table.labels, strict=True):
                groups[label].append(file)
        listings[split] = SplitListing(split, tuple(map(str, classes)), tuple(map(tuple, groups.values())))
    return listings


def _order_classes(labels: Iterable[Label], names: Iterable[str], location: str) -> list[Label]:
    present = set(labels)
    numbers = {label for label in present if isinstance(label, int)}
    if numbers and numbers != present:
        raise UserError(
            f"{location}: some files have class numbers, others the names of classes", "use one of the two in all files"
        )
    named = [name for name in dict.fromkeys(names) if name in present]
    return [*named, *sorted(numbers), *sorted(str(label) for label in present - numbers - set(named))]
