"""Files that list the class of each image of a folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from attncli.data.images.files import ImageFile
from attncli.data.readers.split_listing import SplitListing
from attncli.errors import UserError
from attncli.quantities import format_quantity
from attncli.system.files import read_user_text


def read_lines(path: Path, layout: str) -> list[str]:
    """Return the lines of a user's text file. Raises UserError if it cannot be read."""
    return read_user_text(path, layout).splitlines()


def group_by_label(
    split: str, classes: Sequence[str], files: Sequence[ImageFile], label_by_name: Mapping[str, str], label_file: Path
) -> SplitListing:
    """Return the files sorted into their classes.

    Args:
        split: name of the split.
        classes: names of all classes.
        files: the images.
        label_by_name: class of each image by its file name.
        label_file: the file the labels are from, for errors.

    Raises:
        UserError: for an image without a label, a label without an image, or an unknown class.
    """
    groups: dict[str, list[ImageFile]] = {name: [] for name in classes}
    for file in files:
        name = file.path.rpartition("/")[2]
        if name not in label_by_name:
            raise UserError(f"{label_file}: no label for {name}", "one label per image")
        if label_by_name[name] not in groups:
            raise UserError(
                f"{label_file}: {name} has the class '{label_by_name[name]}', which is not in train/",
                _suggest_classes(label_by_name[name], classes),
            )
        groups[label_by_name[name]].append(file)
    missing = sorted(set(label_by_name) - {file.path.rpartition("/")[2] for file in files})
    if missing:
        raise UserError(
            f"{label_file}: {format_quantity(len(missing), 'image')} missing: {', '.join(missing[:5])}",
            "unpack the archive again",
        )
    return SplitListing(split, tuple(classes), tuple(tuple(groups[name]) for name in classes))


def _suggest_classes(label: str, classes: Sequence[str]) -> str:
    """Return the hint for a label that is no class: numbers in place of names have to be replaced by their names."""
    if label.isdecimal() and not any(name.isdecimal() for name in classes):
        return (
            f"write the name of each class, such as '{classes[0]}', in place of its number: `attncli help data` has "
            "the lines for numbers that count the sorted names from 0"
        )
    return "use the same classes"
