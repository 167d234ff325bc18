"""The names of splits and of system files, one table for every reader of user datasets."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

from attncli.errors import UserError, quote_word, unknown_name_error
from attncli.quantities import format_first

SPLIT_WORDS: dict[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
SPLIT_BY_WORD = {word: split for split, words in SPLIT_WORDS.items() for word in words}
SPLIT_COLUMNS = ("split", "set", "subset", "partition", "part")  # of a table: tells the split of each row
SPLIT_LIKE_WORDS = frozenset({*SPLIT_COLUMNS, *SPLIT_BY_WORD, "fold", "kfold", "usage", "phase"})
WORDS_HINT = ", ".join(f"{split} ({' '.join(words[1:])})" for split, words in SPLIT_WORDS.items())
# Written by operating systems, file managers and network storage. Names that begin with a dot are skipped too.
SYSTEM_NAMES = frozenset(
    {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "__pycache__", "@eadir", "#recycle", "@recycle",
     "_ds_store", "#snapshot", "@tmp", "$recycle.bin", "recycler", "system volume information", "lost+found"}
)  # fmt: skip


def is_system_name(name: str) -> bool:
    """Return whether a file or folder is hidden or belongs to the system, so that it holds none of the images."""
    return name.startswith(".") or name.lower() in SYSTEM_NAMES


def recognize_split(name: str) -> str | None:
    """Return "train", "val" or "test" for one of their names in any case, else None."""
    return SPLIT_BY_WORD.get(name.lower())


def assign_splits(names: Iterable[str], location: str, unused: Collection[str] = ()) -> dict[str, str]:
    """Return which of the names is which split: `{"train": "Training", "test": "Testing"}`.

    Args:
        names: the names of folders or tables.
        location: the folder or dataset that has them, for errors.
        unused: names to leave out (data.unused_splits).

    Raises:
        UserError: for two names of one split, or a name that is no split.
    """
    names = sorted(set(names) - set(unused))
    unknown = [name for name in names if recognize_split(name) is None]
    if unknown:
        raise unknown_split_error(location, unknown, names)
    splits: dict[str, str] = {}
    for name in names:
        first = splits.setdefault(SPLIT_BY_WORD[name.lower()], name)
        if first != name:
            raise UserError(
                f"{location}: '{first}' and '{name}' are the same split",
                f"rename one of them, or leave it out: --set 'data.unused_splits=[{name}]'",
            )
    return splits


def check_unused_splits(unused: Collection[str], known: Collection[str], location: str) -> None:
    """Raise UserError if data.unused_splits names what is not there.

    Args:
        unused: the names that the recipe leaves out.
        known: the names of the splits, folders or files that are there.
        location: the folder or dataset that has them, for errors.
    """
    unknown = next((name for name in unused if name not in known), None)
    if unknown is not None and not known:
        raise UserError(f"{location}: data.unused_splits: no '{unknown}' in it", "leave the key out: it has no splits")
    if unknown is not None:
        raise unknown_name_error("name", unknown, known, f"{location}: data.unused_splits")


class SplitPlace(NamedTuple):
    """What the path of a file says: its split, if it names one, and the folder of its configuration ("." = none)."""

    split: str | None
    configuration: str


def read_split_place(path: str) -> SplitPlace:
    """Return the split that a relative path names, and the folder above the first component that names it.

    The words of a component end at a sign or digit: "cats/Train-00000-of-00002.parquet" is of the split train and the
    configuration "cats". A component with the words of two splits (train_test_split/) names none, and so do components
    that disagree; the configuration is then the folder of the file.
    """
    parts = PurePath(path).with_suffix("").parts
    splits_by_depth = {}
    for depth, part in enumerate(parts):
        splits = {split for word in re.split(r"[^a-z]+", part.lower()) if (split := recognize_split(word))}
        if len(splits) == 1:
            splits_by_depth[depth] = splits.pop()
    if len(set(splits_by_depth.values())) != 1:
        return SplitPlace(None, "/".join(parts[:-1]) or ".")
    depth, split = next(iter(splits_by_depth.items()))
    return SplitPlace(split, "/".join(parts[:depth]) or ".")


def describe_unused_columns(columns: Iterable[str], used: Collection[str | None], location: str) -> tuple[str, ...]:
    """Return a line about columns that by their names tell a split, such as is_test or fold, and are not read."""
    unused = [
        name for name in columns if name not in used and SPLIT_LIKE_WORDS & set(re.split(r"[^a-z]+", name.lower()))
    ]
    if not unused:
        return ()
    known = ", ".join(SPLIT_WORDS)
    return (f"{location}: not used: {format_names(unused)}; a column `split` with {known} would tell the splits",)


def describe_unused_siblings(root: Path) -> tuple[str, ...]:
    """Return a line if the folder or file at `root` is one split of a dataset of which others lie beside it.

    These are siblings of the same kind, and nothing tells that they are to be used.
    """
    place = root.resolve()
    own_split = recognize_split(place.stem if place.is_file() else place.name)
    if own_split is None:
        return ()
    try:
        others = sorted(
            other.name
            for other in place.parent.iterdir()
            if other.is_file() == place.is_file()
            and other.suffix == place.suffix
            and recognize_split(other.stem if other.is_file() else other.name) not in (None, own_split)
        )
    except OSError:  # a folder that may be entered but not listed
        return ()
    if not others:
        return ()
    whole = quote_word(place.parent)
    return (f"not used: {format_names(others)} beside {place.name}; --data-root {whole} names the whole dataset",)


def unknown_split_error(location: str, unknown: Sequence[str], names: Sequence[str]) -> UserError:
    """Return the error for names that are no split; it lists all that is there."""
    return UserError(
        f"{location}: not a known split: {format_names(unknown)}; it has {format_names(names)}",
        f"known, in any case: {WORDS_HINT}; rename it, or leave it out: --set 'data.unused_splits=[{unknown[0]}]'",
    )


def choose_configuration(places: Mapping[str, SplitPlace], wanted: str | None, location: str) -> dict[str, SplitPlace]:
    """Return the files of one configuration; without `wanted`, all, unless a split is in two configurations.

    Raises:
        UserError: if there are several configurations and none is chosen, or the wanted one is not there.
    """
    known = ", ".join(sorted({place.configuration for place in places.values()}))
    if wanted is not None:
        chosen = {name: place for name, place in places.items() if place.configuration == wanted}
        if not chosen:
            raise UserError(f"{location}: no configuration '{wanted}'", f"data.configuration: {known}")
        return chosen
    splits = [place.split for place in set(places.values())]
    if len(splits) > len(set(splits)):
        raise UserError(
            f"{location}: several configurations of one dataset: {known}", "choose one: --set data.configuration=NAME"
        )
    return dict(places)


def format_names(names: Sequence[str], limit: int = 8) -> str:
    """Return the first names in quotation marks, and how many more there are."""
    return format_first([f"'{name}'" for name in names], limit)
