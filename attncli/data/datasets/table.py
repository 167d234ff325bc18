"""Your own images by a list: a CSV, TSV or text file with the path and the class of each image, one per line.

data.root is the list, or a folder with one list, or with one for each split (train.csv, test.csv). With a header, the
columns are found by their names (path, filename, image_id, ...; label, class, ...), or data.image_column and
data.label_column name them; a column split tells the split of each image. Paths count from the folder of the list and
may lack the suffix or the folders. A column per class, of which one is 1, is read too. Without test images, one fifth
of each class is the test set, chosen by a fixed seed. Images of different sizes need data.image_size.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from attncli.data.dataset import DatasetSource
from attncli.data.images.files import ImageFile
from attncli.data.paths import DataPaths
from attncli.data.readers.columns import name_columns
from attncli.data.readers.file_walk import is_file, is_folder, is_stray, walk_folder
from attncli.data.readers.image_files import make_image_source
from attncli.data.readers.labelled_rows import LabelledRows, group_by_class, rename_test_split
from attncli.data.readers.listed_files import describe_missing_files, describe_moved_files, find_listed_files
from attncli.data.readers.path_lists import LAYOUT, SUFFIXES, LabelledPaths, read_labelled_paths, read_path_table
from attncli.data.readers.split_listing import SplitListing
from attncli.data.readers.split_names import assign_splits, check_unused_splits, read_split_place
from attncli.errors import UserError
from attncli.quantities import format_quantity
from attncli.recipe import Data

ORIGIN = "user"


def read(data: Data, paths: DataPaths) -> DatasetSource:
    """Return the images of the list data.root. Raises UserError for a list that cannot be used, or missing images."""
    root = paths.user_root
    if root is None:
        raise UserError("data.root: the dataset 'table' needs one", f"--data-root FILE.csv, with {LAYOUT}")
    if not root.exists():
        raise UserError(f"{root}: no such file or folder", f"--data-root FILE.csv, with {LAYOUT}")
    folder = root if is_folder(root) else root.parent
    notes: list[str] = []
    lists = _list_files(root) if is_folder(root) else {}
    listings = _list_tables(folder, _find_lists(root, lists, data.unused_splits), set(_name_lists(lists)), data, notes)
    source = make_image_source(listings, folder, data, paths)
    return replace(source, origin=str(root.resolve()), notes=(*notes, *source.notes))


def _list_files(root: Path) -> dict[Path, str | None]:
    """Return the lists in a folder, and the split that the name of each tells."""
    lists = [file.path for file in walk_folder(root, "") if Path(file.path).suffix.lower() in SUFFIXES]
    lists = [path for path in lists if not _is_sample_submission(path)]
    return {root / path: read_split_place(path).split for path in lists}


def _is_sample_submission(path: str) -> bool:
    """Return whether a list is Kaggle's example of an answer, whose labels are made up."""
    return Path(path).name.lower().replace("_", "").startswith("samplesubmission")


def _choose_folder(path: Path, folder: Path, texts: Sequence[str]) -> Path:
    """Return the folder that the paths of a list count from: its own, or the root's if no image is in its own."""
    if path.parent == folder or any(is_file(path.parent / text) for text in texts):
        return path.parent
    names = {Path(file.path).stem for file in walk_folder(path.parent, "") if not is_stray(file.path)}
    return path.parent if any(Path(text).stem in names for text in texts) else folder


def _name_lists(lists: Mapping[Path, str | None]) -> list[str]:
    """Return the names by which data.unused_splits may mean a list: that of the file, or of its split."""
    return [name for path, split in lists.items() for name in (path.name, split) if name is not None]


def _find_lists(root: Path, splits: Mapping[Path, str | None], unused: list[str]) -> dict[str, Path]:
    """Return the list of each split; a single list is that of `train`, whatever its name."""
    if not is_folder(root):
        return {"train": root}
    lists = list(splits)
    tables = [path for path in lists if path.suffix.lower() != ".txt"] or lists
    named: dict[str, list[Path]] = defaultdict(list)
    for path in tables:
        split = splits[path]
        if split is not None and split not in unused and path.name not in unused:
            named[split].append(path)
    double = next((members for members in named.values() if len(members) > 1), None)
    if double is None and "train" in named:
        return {split: members[0] for split, members in named.items()}
    if double is None and len(tables) == 1:
        return {"train": tables[0]}
    list_names = ", ".join(str(path.relative_to(root)) for path in (double or tables)[:5])
    problem = f"{root}: several lists: {list_names}" if double or tables else f"{root}: no list (CSV, TSV or text file)"
    hint = f"--data-root FILE.csv names one; {LAYOUT}; `attncli help data` makes one list of several"
    raise UserError(problem, hint)


def _list_tables(
    folder: Path, lists: dict[str, Path], known: set[str], data: Data, notes: list[str]
) -> dict[str, SplitListing]:
    """Return the listing of each split, and add notes; `known` has the names that data.unused_splits may have."""
    wanted = name_columns(data)
    rows: dict[str, list[LabelledRows]] = {}
    tables = {split: read_path_table(path, wanted) for split, path in lists.items()}
    for split, path in lists.items():
        table = tables[split]
        is_unlabelled = len(table.columns) == 1 < len(tables["train"].columns)
        listed = None if is_unlabelled else read_labelled_paths(table, wanted)
        if listed is None:
            if split == "train":
                raise UserError(f"{path}: no column of labels", LAYOUT)
            notes.append(f"{path.name} has no labels and is left out")
            continue
        notes += listed.notes
        known |= set(listed.splits or ())
        for name, part in _separate_splits(listed, split, path, data.unused_splits).items():
            start = _choose_folder(path, folder, part.paths)
            located = find_listed_files(
                start, part.paths, name, path, has_header=table.has_header, may_lack=data.bad == "skip"
            )
            notes += describe_missing_files(located.missing, path)
            notes += describe_moved_files(located.moved)
            prefix = start.relative_to(folder).as_posix()
            moved = [file._replace(path=f"{prefix}/{file.path}") if prefix != "." else file for file in located.files]
            labels = _parse_labels([part.labels[row] for row in located.rows])
            groups = part.groups and [part.groups[row] for row in located.rows]
            listed_rows = LabelledRows(moved, labels, [], groups)
            rows.setdefault(name, []).append(_drop_repeated_rows(listed_rows, path, notes))
    check_unused_splits(data.unused_splits, known, str(folder))
    if "train" not in rows:
        raise UserError(f"{next(iter(lists.values()))}: no images of the split train", LAYOUT)
    return group_by_class(rename_test_split(rows), str(folder))


def _drop_repeated_rows(rows: LabelledRows, path: Path, notes: list[str]) -> LabelledRows:
    """Return the rows without those that name an image again with the same label, of which a note is added.

    Lists of boxes have a row per box; a cut would put the copies of an image into the training and the test set.
    """
    first_rows: dict[tuple[ImageFile, int | str], int] = {}
    for row, key in enumerate(zip(rows.files, rows.labels, strict=True)):
        first_rows.setdefault(key, row)
    unique_rows = list(first_rows.values())
    if len(unique_rows) == len(rows.files):
        return rows
    repeated = next(
        file.path for row, file in enumerate(rows.files) if row >= len(unique_rows) or unique_rows[row] != row
    )
    count = format_quantity(len(rows.files) - len(unique_rows), "row")
    notes.append(f"{path.name}: left out, {count} that repeat an image and its label, such as {repeated}")
    files, labels = [rows.files[row] for row in unique_rows], [rows.labels[row] for row in unique_rows]
    return replace(rows, files=files, labels=labels, groups=rows.groups and [rows.groups[row] for row in unique_rows])


def _separate_splits(listed: LabelledPaths, split: str, path: Path, unused: list[str]) -> dict[str, LabelledPaths]:
    """Return the rows of each split by the column of splits; without one, all are of the list's own split."""
    if listed.splits is None:
        return {split: listed}
    separated = {}
    for name, word in assign_splits(listed.splits, str(path), unused).items():
        chosen = [row for row, text in enumerate(listed.splits) if text == word]
        groups = [listed.groups[row] for row in chosen] if listed.groups else None
        paths, labels = ([cells[row] for row in chosen] for cells in (listed.paths, listed.labels))
        separated[name] = LabelledPaths(paths, labels, groups=groups)
    return separated


def _parse_labels(labels: list[str]) -> list[int | str]:
    """Return labels as numbers if all are whole numbers, so that 10 comes after 9; 01 is a text, as 1 is another."""
    are_numbers = all(text.isdecimal() and text == str(int(text)) for text in set(labels))
    return [int(text) for text in labels] if are_numbers else list(labels)
