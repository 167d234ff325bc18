"""The labels of ImageNet's validation images, in the formats in which they are distributed."""

from collections.abc import Sequence
from pathlib import Path

from attncli.data.readers.label_files import read_lines
from attncli.errors import UserError
from attncli.quantities import format_quantity

FOLDERS = (".", "val", "ILSVRC2012_devkit_t12/data", "devkit/data", "..", "../../..")  # from the images' root
CSV = "LOC_val_solution.csv"
SYNSETS = "imagenet_2012_validation_synset_labels.txt"
NUMBERS = "ILSVRC2012_validation_ground_truth.txt"
PAIRS = ("val.txt", "val_annotations.txt", "val_labels.txt")


def read_labels_by_name(root: Path, names: Sequence[str], layout: str) -> tuple[dict[str, str], Path]:
    """Return the class (WordNet ID) of each image of val/ by its name, and the file with the labels.

    A file without names has one label per image, in the order of `names`. Raises UserError if there is no file of
    labels, or if its number of lines is not that of the images.
    """
    path = _find_file(root, (CSV, SYNSETS, NUMBERS, *PAIRS))
    if path is None:
        raise UserError(f"{root / 'val'}: images without folders, and no file that gives their classes", layout)
    rows = [text.strip() for text in read_lines(path, layout) if text.strip()]
    if path.name == CSV:
        table = [row.replace(",", " ").split() for row in rows if not row.startswith("ImageId")]
        return {f"{cells[0]}.JPEG": cells[1] for cells in table if len(cells) > 1}, path
    if path.name in PAIRS:
        return {cells[0].rpartition("/")[2]: cells[1] for row in rows if len(cells := row.split()) > 1}, path
    if len(rows) != len(names):
        raise UserError(
            f"{path}: {format_quantity(len(rows), 'label')} for {format_quantity(len(names), 'image')} in val/",
            "one line per image",
        )
    if path.name == NUMBERS:
        ids_by_number = _read_wordnet_ids(root, path)
        rows = [ids_by_number.get(row, f"class {row}") for row in rows]
    return dict(zip(sorted(names), rows, strict=True)), path


def _find_file(root: Path, names: Sequence[str]) -> Path | None:
    """Return the first of the files that exists in one of the possible folders, or None."""
    return next(
        (root / folder / name for name in names for folder in FOLDERS if (root / folder / name).is_file()), None
    )


def _read_wordnet_ids(root: Path, label_file: Path) -> dict[str, str]:
    """Return the WordNet IDs by their number in the development kit. Raises UserError without its meta.mat."""
    path = _find_file(root, ("meta.mat",))
    if path is None:
        raise UserError(
            f"{label_file}: class numbers, but no meta.mat that names the classes", "put the development kit beside it"
        )
    from scipy.io import loadmat

    try:
        table = loadmat(path, squeeze_me=True)["synsets"]
        return {str(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in table}
    except Exception as error:  # what scipy raises on a broken file is not a closed list
        raise UserError(f"{path}: cannot be read: {error}", "the development kit's data/meta.mat") from error
