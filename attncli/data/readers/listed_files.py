"""Find the image files that a list names, also if the list was made on another machine or leaves out parts of paths."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path, PurePath

from attncli.data.images.files import ImageFile
from attncli.data.readers.base64_images import BASE64_HINT, is_base64_image
from attncli.data.readers.file_walk import describe_file, is_file, is_stray, walk_folder
from attncli.data.readers.split_names import read_split_place
from attncli.errors import UserError, quote_word
from attncli.quantities import format_first, format_quantity

SHOWN, MOST_LETTERS = 3, 200


@dataclass(frozen=True)
class ListedFiles:
    """The image files of a list, in its order, and the pairs (path in the list, file) that differ in their folders.

    `rows` are the rows of the list that have these files, and `missing` the paths of the others.
    """

    files: list[ImageFile]
    moved: list[tuple[str, str]]
    rows: list[int]
    missing: list[str]


def find_listed_files(
    folder: Path, paths: Sequence[str], split: str, list_path: Path, *, has_header: bool, may_lack: bool = False
) -> ListedFiles:
    """Return the image files of a list.

    A path counts from the folder of the list. It may lack the suffix or the folders, have the folders of another
    machine, or differ in letter case, if only one file fits: of several, the one with the most folders in common, or
    of this split's folder.

    Args:
        folder: the folder of the list.
        paths: the paths of the list.
        split: the split of these images.
        list_path: the list, for errors.
        has_header: whether the first line was read as names of columns.
        may_lack: whether paths that no image has are left out; at least one must be there.

    Raises:
        UserError: for paths that no image has, that several have, or that mean the same image.
    """
    index = _index_files(folder)
    files: list[ImageFile] = []
    moved: list[tuple[str, str]] = []
    rows: list[int] = []
    missing: list[str] = []
    texts_by_file: dict[str, str] = {}
    for row, text in enumerate(paths):
        file = _locate_file(index, folder, text, split, list_path)
        if file is None:
            missing.append(text)
            continue
        first = texts_by_file.setdefault(file.path, text)
        if _parse_path(first) != _parse_path(text):
            problem = f"{list_path}: '{first}' and '{text}' both mean {file.path}"
            raise UserError(problem, f"paths count from {folder}; add the images, or leave their rows out")
        files.append(file)
        rows.append(row)
        if not _shares_folders(text, file):
            moved.append((text, file.path))
    if missing and not (may_lack and files):
        raise _missing_images_error(folder, paths, missing, list_path, has_header=has_header)
    return ListedFiles(files, moved, rows, missing)


def _missing_images_error(
    folder: Path, paths: Sequence[str], missing: Sequence[str], list_path: Path, *, has_header: bool
) -> UserError:
    """Return the error for `missing` ones among the paths of a list, with what is likely the cause."""
    if is_base64_image(missing[0]):
        return UserError(f"{list_path}: the column of images holds images in base64, not paths", BASE64_HINT)
    if "://" in missing[-1]:
        problem = f"{list_path}: the column of images holds addresses, not paths: {missing[-1][:MOST_LETTERS]}"
        return UserError(problem, f"fetch the images into {folder}, and list their file names")
    named = ", ".join(text[:MOST_LETTERS] for text in missing[:SHOWN])
    hint = f"paths count from {folder}; add the images, or leave their rows out: --set data.bad=skip"
    is_all = len(missing) == len(paths)
    if is_all:
        parent = quote_word(folder.parent)
        hint = f"paths count from {folder}; --data-root {parent} reads a list with images beside its folder"
    if not has_header and missing[0] == paths[0] and not (is_all and _parse_path(paths[0]).suffix):
        key = "data.image_column=NAME" if is_all else quote_word(f"data.image_column={paths[0]}")
        hint = f"if the first line names the columns: --set {key}; otherwise: {hint}"
    problem = f"{list_path}: {len(missing):,} of {format_quantity(len(paths), 'image')} not there: {named}"
    return UserError(problem, hint)


def describe_missing_files(missing: Sequence[str], list_path: Path) -> list[str]:
    """Return a note about rows that are left out because their images are not there, none if there are none."""
    named = format_first([text[:MOST_LETTERS] for text in missing], SHOWN)
    return (
        [f"{list_path.name}: left out, {format_quantity(len(missing), 'row')} without an image: {named}"]
        if missing
        else []
    )


def describe_moved_files(moved: Sequence[tuple[str, str]]) -> list[str]:
    """Return a note about images that lie in other folders than the list says, none if there are none."""
    if not moved:
        return []
    listed, actual = moved[0]
    return [f"{format_quantity(len(moved), 'image')} in other folders than the list says, such as {listed} = {actual}"]


def _locate_file(
    index: Mapping[str, list[ImageFile]], folder: Path, text: str, split: str, list_path: Path
) -> ImageFile | None:
    """Return the file of a path of the list, or None. Raises UserError if several fit."""
    path = _parse_path(text)
    candidates = index.get(path.as_posix(), [])
    if not candidates and text and is_file(folder / text):
        return describe_file(folder / text, text)
    candidates = candidates or index.get(path.name) or index.get(path.name.casefold(), [])
    if len(candidates) > 1:
        most = max(_count_common_folders(path, file) for file in candidates)
        candidates = [file for file in candidates if _count_common_folders(path, file) == most]
    if len(candidates) > 1:
        candidates = [file for file in candidates if read_split_place(file.path).split == split] or candidates
    if len(candidates) > 1:
        names = ", ".join(file.path for file in candidates[:SHOWN])
        raise UserError(f"{list_path}: '{text}' may be {names}", "give the path from the folder of the list")
    return candidates[0] if candidates else None


def _parse_path(text: str) -> PurePath:
    return PurePath(text.replace("\\", "/"))


def _count_common_folders(path: PurePath, file: ImageFile) -> int:
    """Return how many folders directly above a path and a file have the same names."""
    pairs = zip(reversed(path.parent.parts), reversed(PurePath(file.path).parent.parts), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _shares_folders(text: str, file: ImageFile) -> bool:
    """Return whether the folders of one of the two paths are the end of those of the other."""
    path = _parse_path(text)
    shorter = min(len(path.parent.parts), len(PurePath(file.path).parent.parts))
    return _count_common_folders(path, file) == shorter


def _index_files(folder: Path) -> Mapping[str, list[ImageFile]]:
    """Return the image files below a folder by every text that may name them, whole paths first."""
    files = [file for file in walk_folder(folder, "") if not is_stray(file.path)]
    index: dict[str, list[ImageFile]] = {file.path: [file] for file in files}
    for shorten in (
        lambda path: path.with_suffix("").as_posix(),
        lambda path: path.name,
        lambda path: path.stem,
        lambda path: path.name.casefold(),
        lambda path: path.stem.casefold(),
    ):
        known = set(index)
        for file in files:
            name = shorten(PurePath(file.path))
            if name not in known:
                index.setdefault(name, []).append(file)
    return index
