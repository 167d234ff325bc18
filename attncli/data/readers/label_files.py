"""Files of labels beside images that lie in one folder: who is of which class."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from attncli.data.images.files import ImageFile
from attncli.data.readers.image_folder import SplitListing
from attncli.errors import UserError


def read_lines(path: Path, layout: str) -> list[str]:
    """The lines of a text file. Raises UserError where it is missing or no text."""
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: {getattr(error, 'strerror', None) or 'not a text'}", layout) from error


def group_by_label(
    split: str, classes: Sequence[str], files: Sequence[ImageFile], label_by_name: Mapping[str, str], label_file: Path
) -> SplitListing:
    """The files by their classes, which the file `label_file` gives by name.

    Raises UserError for an image without a label, a label without an image, or a class that is not known.
    """
    groups: dict[str, list[ImageFile]] = {name: [] for name in classes}
    for file in files:
        name = file.path.rpartition("/")[2]
        if name not in label_by_name:
            raise UserError(f"{label_file}: no label for {name}", "a label for each image")
        if label_by_name[name] not in groups:
            raise UserError(
                f"{label_file}: {name} is of '{label_by_name[name]}', which is not in train/", "the same classes"
            )
        groups[label_by_name[name]].append(file)
    missing = sorted(set(label_by_name) - {file.path.rpartition("/")[2] for file in files})
    if missing:
        raise UserError(
            f"{label_file}: {len(missing)} images are not there: {', '.join(missing[:5])}", "unpack it again"
        )
    return SplitListing(split, tuple(classes), tuple(tuple(groups[name]) for name in classes))
