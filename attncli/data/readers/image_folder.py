"""List a folder of images: ROOT/train/CLASS/..., and val/ or test/ or both, or ROOT/CLASS/... without splits.

Only names and sizes are read. The folders of the splits may have any name of `split_names.SPLIT_WORDS`, such as
Training/ and Testing/.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import BinaryIO

from attncli.data.class_choice import choose_classes
from attncli.data.images.files import ImageFile
from attncli.data.readers.file_walk import (
    is_file,
    is_folder,
    is_stray,
    join_folders,
    scan_folder,
    separate_stray_files,
    walk_folder,
)
from attncli.data.readers.split_names import (
    assign_splits,
    check_unused_splits,
    read_split_place,
    recognize_split,
    unknown_split_error,
)
from attncli.errors import UserError, escape_unprintable, join_hints, suggest_name
from attncli.quantities import format_quantity

READERS_OF_TABLES = {".parquet": "parquet", ".csv": "table", ".tsv": "table", ".txt": "table"}
MASK_NAME = re.compile(r"(.+?)[ _-](?:mask|masks|segmentation|seg|trimap)(?:[ _-]?\d+)?", re.IGNORECASE)
MOST_NESTING = 3  # lone folders within folders, as archives unpack them
LAYOUT = "it contains train/CLASS/*.jpg and the same classes in test/ or val/ (or both)"


@dataclass(frozen=True)
class SplitListing:
    """The classes of a split, sorted by name, and the files of each class; `opener` as in `ImageFileList`.

    `skipped` lists files that are no images by their names. `groups` has the group of each file, as `files` is.
    `notes` has lines about what is not used, or used otherwise than one may think.
    """

    split: str
    classes: tuple[str, ...]
    files: tuple[tuple[ImageFile, ...], ...]
    opener: Callable[[Path, ImageFile], Path | BinaryIO] | None = None
    skipped: tuple[str, ...] = ()
    groups: tuple[tuple[str, ...], ...] | None = None
    notes: tuple[str, ...] = ()


def list_root(
    root: Path, unused: Collection[str] = (), wanted_classes: int | list[str] | str | None = None
) -> dict[str, SplitListing]:
    """Return the split `train` and, if their folders are there, `test` and `val`; a lone val/ is the test split.

    A folder of classes without splits is all `train`. If ROOT only holds one other folder, that is looked into. A test
    folder of files without classes has no labels and is left out.

    Args:
        root: the folder that the user names.
        unused: folders to leave out (data.unused_splits).
        wanted_classes: data.classes; what the other classes hold does not matter.

    Raises:
        UserError: for a missing folder, a folder with images of the same classes that is no known split, fewer than two
            classes, an empty class, an image outside the folders of the classes, or classes that differ between splits.
    """
    top, folders = find_split_folders(root, unused)
    if "test" not in folders and "val" in folders:
        folders["test"] = folders.pop("val")
    listings = {
        split: list_class_folders(root, join_folders(top, folder), () if folder else unused)
        for split, folder in sorted(folders.items(), reverse=True)
    }
    notes = (*listings["train"].notes, *_describe_unused_folders(root / top, folders, unused))
    listings = {split: replace(each, notes=notes if split == "train" else ()) for split, each in listings.items()}
    return _match_classes(root, listings, wanted_classes)


def _describe_unused_folders(top: Path, folders: Mapping[str, str], unused: Collection[str]) -> list[str]:
    """Return a line per folder that is a split by its name, but has images without folders of classes."""
    if "" in folders.values():
        return []
    names = [name for name in _list_folders(top) if name not in (*folders.values(), *unused)]
    return [
        f"not used: '{name}' has images, but no folders of classes; --dataset table would read a list of their labels"
        for name in names
        if read_split_place(name).split and _has_images(top / name)
    ]


def find_split_folders(root: Path, unused: Collection[str] = ()) -> tuple[str, dict[str, str]]:
    """Return the folder of the dataset below the root ("" = the root itself), and in it the folder of each split.

    Raises UserError for a root that is no folder, or of which the layout is not known.
    """
    if not is_folder(root):
        problem = f"{root}: {'no folder but a file' if root.exists() else 'no such folder'}"
        raise UserError(problem, f"--data-root names the folder of the images; {LAYOUT}")
    top = _find_top_folder(root)
    return top, _find_split_folders(root / top, unused)


def _find_top_folder(root: Path) -> str:
    """Return the folder, relative to the root, that holds the splits or classes: the root itself, "", or a lone one."""
    top = ""
    for _ in range(MOST_NESTING):
        names = _list_folders(root / top)
        if len(names) != 1 or recognize_split(names[0]) or _has_images(root / top / names[0]):
            return top
        top = join_folders(top, names[0])
    return ""


def _find_split_folders(top: Path, unused: Collection[str]) -> dict[str, str]:
    """Return the folder of each split; `{"train": ""}` if the folders are those of classes."""
    all_names = _list_folders(top)
    check_unused_splits(unused, all_names, str(top))
    names = [name for name in all_names if name not in unused]
    known = {split for name in names if (split := recognize_split(name))}
    if _is_train_a_class(top, names):
        return {"train": ""}
    if "train" in known:
        folders = assign_splits(_list_split_folders(top, names), str(top))
        return {split: name for split, name in folders.items() if split == "train" or _list_folders(top / name)}
    if not known and (folders := _find_worded_splits(top, names)):
        return folders
    if not known and _are_class_folders(top, names):
        return {"train": ""}
    layouts = f"{LAYOUT}; or CLASS/*.jpg without splits, and data.unused_splits=[NAME] for folders of no class"
    hint = join_hints(_suggest_root(top, names), layouts, suggest_name("train", names), *_suggest_readers(top))
    raise UserError(f"{top}: no folder train/ in it", hint)


def _find_worded_splits(top: Path, names: Sequence[str]) -> dict[str, str]:
    """Return the folder of each split if their names have its word, as training_set/ and test_set/ do, else nothing.

    Raises UserError if these hold images directly, as train_images/ and test_images/ do, and no other folder does, or
    if another folder holds the same classes.
    """
    worded: dict[str, list[str]] = {}
    for name in names:
        if split := read_split_place(name).split:
            worded.setdefault(split, []).append(name)
    if "train" not in worded or len(worded) == 1 or max(map(len, worded.values())) > 1:
        return {}
    folders = {split: members[0] for split, members in worded.items()}
    with_images = [name for name in names if _has_images(top / name)]
    if with_images and set(with_images) <= set(folders.values()) and folders["train"] in with_images:
        raise UserError(
            f"{top}: {_format_names(with_images)}: splits by their names, without folders of classes in them",
            "move the images to train/CLASS/; --dataset table reads a list of paths and labels",
        )
    classes = _list_folders(top / folders["train"])
    others = [name for name in names if any(is_folder(top / name / wanted) for wanted in classes)]
    unknown = [name for name in others if name not in folders.values()]
    if (with_images and folders["train"] in with_images) or not classes:
        return {}
    if unknown:
        raise unknown_split_error(str(top), unknown, names)
    return {split: name for split, name in folders.items() if _list_folders(top / name)}


def _suggest_root(top: Path, names: Sequence[str]) -> str:
    """Return what else `--data-root` may name, or how to move folders, for a folder that holds datasets itself."""
    inner = {name: _list_folders(top / name) for name in names}
    if (
        names
        and "labels" not in names
        and all(any(recognize_split(word) == "train" for word in words) for words in inner.values())
    ):
        return f"the splits lie within the other folders: move {names[0]}/train/ to train/{names[0]}/, and so on"
    sets = [name for name in names if "masks" not in inner[name] and _are_class_folders(top / name, inner[name])]
    return f"--data-root {top / sets[0]} names a folder of classes" if sets else ""


def _suggest_readers(top: Path) -> list[str]:
    """Return which datasets read the tables in a folder, if it holds some; a text is one if a split has its name."""
    files = [PurePath(entry.name) for entry in scan_folder(top) if is_file(entry)]
    suffixes = {file.suffix.lower() for file in files if file.suffix != ".txt" or recognize_split(file.stem)}
    names = {reader for suffix, reader in READERS_OF_TABLES.items() if suffix in suffixes}
    return [f"--dataset {name} reads the tables in it" for name in sorted(names)]


def _is_train_a_class(top: Path, names: Sequence[str]) -> bool:
    """Return whether a folder train/ is one of several folders of classes, as of vehicles: bus, car, train."""
    words = [word for name in names if (word := recognize_split(name))]
    return words == ["train"] and len(names) > 2 and all(_is_class_folder(top / name) for name in names)


def _is_class_folder(folder: Path) -> bool:
    return _has_images(folder) and not _list_folders(folder)


def _are_class_folders(top: Path, names: Sequence[str]) -> bool:
    """Return whether the folders hold images themselves, as folders of classes do, and not other folders only."""
    with_images = [name for name in names if _has_images(top / name)]
    others = [name for name in names if name not in with_images]
    return len(with_images) > 1 and not any(_list_folders(top / name) for name in others)


def _list_folders(folder: Path) -> list[str]:
    return [entry.name for entry in scan_folder(folder) if is_folder(entry)]


def _has_images(folder: Path) -> bool:
    return any(is_file(entry) and not is_stray(entry.name) for entry in scan_folder(folder))


def _list_split_folders(top: Path, names: Collection[str]) -> list[str]:
    """Return the folders that have a split's name, or hold a folder of one of the training classes."""
    train = next(name for name in names if recognize_split(name) == "train")
    classes = _list_folders(top / train)
    return [
        name for name in names if recognize_split(name) or any(is_folder(top / name / wanted) for wanted in classes)
    ]


def list_flat_folder(root: Path, folder: str) -> list[ImageFile]:
    """Return the images of one folder, by name. Raises UserError if there are none."""
    files, _ = separate_stray_files(walk_folder(root / folder, folder))
    if not files:
        raise UserError(f"{root / folder}: no files", "add images")
    return list(files)


def list_class_folders(root: Path, split: str, unused: Collection[str] = ()) -> SplitListing:
    """Return the images of SPLIT/CLASS/, without the folders `unused`. A lone folder of classes is looked into.

    Raises UserError for fewer than two classes, or an image outside of them.
    """
    classes, skipped = [], []
    for entry in scan_folder(root / split):
        if entry.name in unused:
            continue
        if is_folder(entry):
            classes.append(check_class_name(entry.name, str(root / split)))
        elif is_stray(entry.name) or not is_file(entry):
            skipped.append(join_folders(split, entry.name))
        else:
            raise UserError(
                f"{entry.path}: a file outside the folders of the classes",
                f"move it to {join_folders(split, 'CLASS')}/; --dataset table reads a list of paths and labels; "
                "`attncli help data` makes one of classes in the names of files",
            )
    if len(classes) == 1 and not skipped:
        lone_folder = join_folders(split, classes[0])
        if _are_class_folders(root / lone_folder, _list_folders(root / lone_folder)):
            return list_class_folders(root, lone_folder, unused)
    if len(classes) < 2:
        description = f"one folder only ('{classes[0]}')" if classes else "no folders"
        others = f"--set 'data.unused_splits=[{split}]' leaves it out; --dataset table reads a list of labels"
        problem = f"{root / split}: {description}; a classifier needs at least two classes"
        raise UserError(problem, join_hints(LAYOUT, others if recognize_split(split) in ("val", "test") else ""))
    notes = _describe_unused_lists(root, skipped)
    files = []
    for name in classes:
        folder = join_folders(split, name)
        class_files, stray = separate_stray_files(walk_folder(root / folder, folder))
        files.append(class_files)
        skipped += stray
    notes += _describe_nested_folders(split, classes, files) + _describe_masks(files)
    return SplitListing(split, tuple(classes), tuple(files), skipped=tuple(skipped), notes=tuple(notes))


def _describe_unused_lists(root: Path, skipped: Collection[str]) -> list[str]:
    """Return a line about tables beside the folders of classes, which may have other labels or splits."""
    lists = [path for path in skipped if READERS_OF_TABLES.get(Path(path).suffix.lower()) == "table"]
    return [f"not used: {lists[0]}; --dataset table --data-root {root / lists[0]} reads such lists"] if lists else []


def _describe_masks(files: Sequence[Sequence[ImageFile]]) -> list[str]:
    """Return a line about images that by their names are masks of others, such as 1_mask.png beside 1.png."""
    masks = []
    for members in files:
        stems = {str(PurePath(file.path).with_suffix("")) for file in members}
        matches = [(MASK_NAME.fullmatch(stem), stem) for stem in sorted(stems)]
        masks += [stem for match, stem in matches if match and match[1] in stems]
    if not masks:
        return []
    return [
        f"{format_quantity(len(masks), 'image')} named as masks of others, such as {masks[0]}; move masks elsewhere"
    ]


def _describe_nested_folders(split: str, classes: Sequence[str], files: Sequence[Sequence[ImageFile]]) -> list[str]:
    """Return a line about folders of which several lie within one class: their images count for that class."""
    for name, members in zip(classes, files, strict=True):
        depth = len(Path(join_folders(split, name)).parts)
        inner = dict.fromkeys(parts[depth] for file in members if len(parts := Path(file.path).parts) > depth + 1)
        if len(inner) > 1:
            return [f"folders within a class count for it, such as {join_folders(split, name, next(iter(inner)))}/"]
    return []


def check_no_empty_class(root: Path, listing: SplitListing, wanted: Collection[str]) -> None:
    """Raise UserError if one of the wanted classes has no images."""
    empty = [name for name, files in zip(listing.classes, listing.files, strict=True) if name in wanted and not files]
    if empty:
        raise UserError(
            f"{root / listing.split}: no files in {_format_names(empty)}",
            "add images, remove the empty folders, or leave the classes out with data.classes",
        )


def check_class_name(name: str, location: str) -> str:
    """Return the name of a class. Raises UserError if it cannot be printed and recorded in one line of UTF-8."""
    if escape_unprintable(name) != name:
        raise UserError(f"{location}: '{name}': the name of a class must be one line of valid UTF-8", "rename it")
    return name


def _match_classes(
    root: Path, listings: dict[str, SplitListing], wanted_classes: int | list[str] | str | None
) -> dict[str, SplitListing]:
    """Return the listings with the classes of `train` each, after checking those that are wanted."""
    classes = listings["train"].classes
    wanted = [classes[number] for number in choose_classes(classes, wanted_classes)]
    matched = {}
    for split, listing in listings.items():
        known = dict(zip(listing.classes, listing.files, strict=True))
        extra = [name for name in listing.classes if name not in classes] if wanted_classes is None else []
        for names, first, second in (
            ([name for name in wanted if name not in known], listings["train"], listing),
            (extra, listing, listings["train"]),
        ):
            if names:
                problem = f"{root}: {_format_names(names)} in {first.split}/ but not in {second.split}/"
                hint = "both need the same classes, or leave it out with data.classes"
                raise UserError(problem, join_hints(hint, suggest_name(names[0], second.classes)))
        check_no_empty_class(root, listing, wanted)
        matched[split] = replace(listing, classes=classes, files=tuple(known.get(name, ()) for name in classes))
    return matched


def _format_names(names: list[str]) -> str:
    """Return a few names, and how many more there are."""
    return ", ".join(f"'{name}'" for name in names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
