"""Find the folders of the splits below the folder that the user names, whatever they are called and however deep."""

from collections.abc import Collection, Sequence
from pathlib import Path, PurePath

from attncli.data.readers.file_walk import is_file, is_folder, is_stray, join_folders, scan_folder
from attncli.data.readers.split_names import (
    assign_splits,
    check_unused_splits,
    format_names,
    read_split_place,
    recognize_split,
    unknown_split_error,
)
from attncli.errors import UserError, join_hints, quote_word, suggest_name

LAYOUT = "it contains train/CLASS/*.jpg and the same classes in test/ or val/ (or both)"
READERS_OF_TABLES = {".parquet": "parquet", ".csv": "table", ".tsv": "table", ".txt": "table"}
MOST_NESTING = 3  # lone folders within folders, as archives unpack them


def find_split_folders(root: Path, unused: Collection[str] = ()) -> tuple[str, dict[str, str]]:
    """Return the folder of the dataset below the root ("" = the root itself), and in it the folder of each split.

    Raises UserError for a root that is no folder, or of which the layout is not known.
    """
    if not is_folder(root):
        problem = f"{root}: {'no folder but a file' if root.exists() else 'no such folder'}"
        raise UserError(problem, f"--data-root names the folder of the images; {LAYOUT}")
    top = _find_top_folder(root)
    return top, _assign_folders(root / top, unused)


def _find_top_folder(root: Path) -> str:
    """Return the folder, relative to the root, that holds the splits or classes: the root itself, "", or a lone one."""
    top = ""
    for _ in range(MOST_NESTING):
        names = list_folders(root / top)
        if len(names) != 1 or recognize_split(names[0]) or has_images(root / top / names[0]):
            return top
        top = join_folders(top, names[0])
    return ""


def _assign_folders(top: Path, unused: Collection[str]) -> dict[str, str]:
    """Return the folder of each split; `{"train": ""}` if the folders are those of classes."""
    all_names = list_folders(top)
    check_unused_splits(unused, all_names, str(top))
    names = [name for name in all_names if name not in unused]
    known = {split for name in names if (split := recognize_split(name))}
    if _is_train_a_class(top, names):
        return {"train": ""}
    if "train" in known:
        split_names = _list_split_folders(top, names)
        folders = _assign_by_words(split_names) or assign_splits(split_names, str(top))
        return {split: name for split, name in folders.items() if split == "train" or list_folders(top / name)}
    if folders := _find_worded_splits(top, names):
        return folders
    if not known and are_class_folders(top, names):
        return {"train": ""}
    layouts = f"{LAYOUT}; or CLASS/*.jpg without splits, and data.unused_splits=[NAME] for folders of no class"
    hint = join_hints(_suggest_root(top, names), layouts, suggest_name("train", names), *_suggest_readers(top))
    raise UserError(f"{top}: no folder train/ in it", hint)


def _find_worded_splits(top: Path, names: Sequence[str]) -> dict[str, str]:
    """Return the folder of each split if their names have its word, as training_set/ and test/ do, else nothing.

    Raises UserError if these hold images directly, as train_images/ and test_images/ do, and no other folder does, or
    if another folder holds the same classes.
    """
    folders = _assign_by_words([name for name in names if read_split_place(name).split])
    if "train" not in folders or len(folders) == 1:
        return {}
    with_images = [name for name in names if has_images(top / name)]
    if with_images and set(with_images) <= set(folders.values()) and folders["train"] in with_images:
        raise UserError(
            f"{top}: {format_names(with_images, 5)}: splits by their names, without folders of classes in them",
            "move the images to train/CLASS/; --dataset table reads a list of paths and labels",
        )
    classes = list_folders(top / folders["train"])
    others = [name for name in names if any(is_folder(top / name / wanted) for wanted in classes)]
    unknown = [name for name in others if name not in folders.values()]
    if (with_images and folders["train"] in with_images) or not classes:
        return {}
    if unknown:
        raise unknown_split_error(str(top), unknown, names)
    return {split: name for split, name in folders.items() if list_folders(top / name)}


def _assign_by_words(names: Sequence[str]) -> dict[str, str]:
    """Return the folder of each split by the words of their names; {} if one has none, or two have the same."""
    folders = {split: name for name in names if (split := read_split_place(name).split)}
    return folders if len(folders) == len(names) else {}


def _is_train_a_class(top: Path, names: Sequence[str]) -> bool:
    """Return whether a folder train/ is one of several folders of classes, as of vehicles: bus, car, train."""
    words = [word for name in names if (word := recognize_split(name))]
    return words == ["train"] and len(names) > 2 and all(_is_class_folder(top / name) for name in names)


def _is_class_folder(folder: Path) -> bool:
    return has_images(folder) and not list_folders(folder)


def are_class_folders(top: Path, names: Sequence[str]) -> bool:
    """Return whether the folders hold images themselves, as folders of classes do, and not other folders only."""
    with_images = [name for name in names if has_images(top / name)]
    others = [name for name in names if name not in with_images]
    return len(with_images) > 1 and not any(list_folders(top / name) for name in others)


def _list_split_folders(top: Path, names: Collection[str]) -> list[str]:
    """Return the folders that have a split's name, or hold a folder of one of the training classes."""
    train = next(name for name in names if recognize_split(name) == "train")
    classes = list_folders(top / train)
    return [
        name for name in names if recognize_split(name) or any(is_folder(top / name / wanted) for wanted in classes)
    ]


def list_folders(folder: Path) -> list[str]:
    """Return the names of the folders in a folder, without hidden and system ones."""
    return [entry.name for entry in scan_folder(folder) if is_folder(entry)]


def has_images(folder: Path) -> bool:
    """Return whether a folder holds files itself that may be images."""
    return any(is_file(entry) and not is_stray(entry.name) for entry in scan_folder(folder))


def _suggest_root(top: Path, names: Sequence[str]) -> str:
    """Return what else `--data-root` may name, or how to move folders, for a folder that holds datasets itself."""
    inner = {name: list_folders(top / name) for name in names}
    if (
        names
        and "labels" not in names
        and all(any(recognize_split(word) == "train" for word in words) for words in inner.values())
    ):
        return f"the splits lie within the other folders: move {names[0]}/train/ to train/{names[0]}/, and so on"
    sets = [name for name in names if "masks" not in inner[name] and are_class_folders(top / name, inner[name])]
    return f"--data-root {quote_word(top / sets[0])} names a folder of classes" if sets else ""


def _suggest_readers(top: Path) -> list[str]:
    """Return which datasets read the tables in a folder, if it holds some; a text is one if a split has its name."""
    files = [PurePath(entry.name) for entry in scan_folder(top) if is_file(entry)]
    suffixes = {file.suffix.lower() for file in files if file.suffix != ".txt" or recognize_split(file.stem)}
    names = {reader for suffix, reader in READERS_OF_TABLES.items() if suffix in suffixes}
    return [f"--dataset {name} reads the tables in it" for name in sorted(names)]
