"""List a folder of images: ROOT/train/CLASS/..., and val/ or test/ or both, or ROOT/CLASS/... without splits.

Only names and sizes are read. `attncli.data.readers.split_folders` finds the folders of the splits, which may have any
name of `split_names.SPLIT_WORDS`, such as Training/ and Testing/.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath

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
from attncli.data.readers.split_folders import (
    LAYOUT,
    READERS_OF_TABLES,
    are_class_folders,
    find_split_folders,
    has_images,
    list_folders,
)
from attncli.data.readers.split_listing import SplitListing, check_class_name, check_no_empty_class
from attncli.data.readers.split_names import format_names, read_split_place, recognize_split
from attncli.errors import UserError, join_hints, quote_word, suggest_name
from attncli.quantities import format_quantity

MASK_NAME = re.compile(r"(.+?)[ _-](?:mask|masks|segmentation|seg|trimap)(?:[ _-]?\d+)?", re.IGNORECASE)


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
    names = [name for name in list_folders(top) if name not in (*folders.values(), *unused)]
    return [
        f"not used: '{name}' has images, but no folders of classes; --dataset table would read a list of their labels"
        for name in names
        if read_split_place(name).split and has_images(top / name)
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
        if are_class_folders(root / lone_folder, list_folders(root / lone_folder)):
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
    if not lists:
        return []
    return [f"not used: {lists[0]}; --dataset table --data-root {quote_word(root / lists[0])} reads such lists"]


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
                problem = f"{root}: {format_names(names, 5)} in {first.split}/ but not in {second.split}/"
                hint = "both need the same classes, or leave it out with data.classes"
                raise UserError(problem, join_hints(hint, suggest_name(names[0], second.classes)))
        check_no_empty_class(root, listing, wanted)
        matched[split] = replace(listing, classes=classes, files=tuple(known.get(name, ()) for name in classes))
    return matched
