"""Files of labels beside images that lie in one folder: who is of which class."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from attncli.data.files import File
from attncli.data.listing import Listing
from attncli.errors import UserError


def lines(path: Path, layout: str) -> list[str]:
    """The lines of a text file. Raises UserError where it is missing or no text."""
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: {getattr(error, 'strerror', None) or 'not a text'}", layout) from error


def labelled(
    part: str, classes: Sequence[str], files: Sequence[File], by_name: Mapping[str, str], told: Path
) -> Listing:
    """The files by their classes, which the file `told` gives by name.

    Raises UserError for an image without a label, a label without an image, or a class that is not known.
    """
    groups: dict[str, list[File]] = {name: [] for name in classes}
    for file in files:
        name = file.path.rpartition("/")[2]
        if name not in by_name:
            raise UserError(f"{told}: no label for {name}", "a label for each image")
        if by_name[name] not in groups:
            raise UserError(f"{told}: {name} is of '{by_name[name]}', which is not in train/", "the same classes")
        groups[by_name[name]].append(file)
    missing = sorted(set(by_name) - {file.path.rpartition("/")[2] for file in files})
    if missing:
        raise UserError(f"{told}: {len(missing)} images are not there: {', '.join(missing[:5])}", "unpack it again")
    return Listing(part, tuple(classes), tuple(tuple(groups[name]) for name in classes))
