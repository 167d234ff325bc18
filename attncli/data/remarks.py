"""What the user has to know about images: how they are shown, and which of them are copies of others."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attncli.data.images.image_facts import ImageFacts
from attncli.data.images.pixel_rules import PLAIN_COLOUR, PixelRules, describe_traits
from attncli.quantities import format_first

SHOWN_CLASSES, SHOWN_ALIKE = 8, 3
SPLIT_PAIRS = (("train", "test"), ("train", "val"), ("val", "test"))
Hashes = NDArray[np.uint64]


@dataclass(frozen=True)
class SplitFiles:
    """The files of a split in their order: their paths, the names of their classes, and what is known about them."""

    paths: Sequence[str]
    labels: Sequence[str]
    facts: ImageFacts

    def read_hashes(self) -> Hashes:
        """Return the digest of each file, (n,)."""
        return np.frombuffer(self.facts.hashes, dtype=np.uint64)


@dataclass(frozen=True)
class Copies:
    """Images that are in two splits or have two labels: how many, of how many, and an example."""

    count: int
    total: int
    example: str


def find_split_copies(splits: Mapping[str, SplitFiles]) -> dict[tuple[str, str], Copies]:
    """Return, by pair of splits, the images of the second that are also in the first, if there are any."""
    copies = {}
    for first, second in SPLIT_PAIRS:
        if first not in splits or second not in splits:
            continue
        first_hashes, second_hashes = splits[first].read_hashes(), splits[second].read_hashes()
        rows = np.isin(second_hashes, first_hashes).nonzero()[0]
        if len(rows):
            original = int((first_hashes == second_hashes[rows[0]]).argmax())
            example = f"{splits[first].paths[original]} = {splits[second].paths[rows[0]]}"
            copies[first, second] = Copies(len(rows), len(second_hashes), example)
    return copies


def find_label_conflicts(splits: Mapping[str, SplitFiles]) -> Copies | None:
    """Return the pictures that have two labels, within a split or in two, if there are any."""
    hashes = np.concatenate([split.read_hashes() for split in splits.values()])
    paths = [path for split in splits.values() for path in split.paths]
    labels = [label for split in splits.values() for label in split.labels]
    order = hashes.argsort(kind="stable")
    is_repeated = np.zeros(len(hashes), dtype=bool)
    is_repeated[1:] = hashes[order][1:] == hashes[order][:-1]
    pictures: dict[int, int] = {}  # first row by hash
    conflicts: dict[int, tuple[int, int]] = {}
    for position in is_repeated.nonzero()[0].tolist():
        row = int(order[position])
        first = pictures.setdefault(int(hashes[row]), int(order[position - 1]))
        if labels[row] != labels[first]:
            conflicts.setdefault(int(hashes[row]), (first, row))
    if not conflicts:
        return None
    first, second = min(conflicts.values())
    example = f"{paths[first]} ({labels[first]}) = {paths[second]} ({labels[second]})"
    return Copies(len(conflicts), len(hashes) - int(is_repeated.sum()), example)


def describe_split_copies(pair: tuple[str, str], copies: Copies) -> str:
    """Return a line about images that are in two splits."""
    first, second = pair
    return (
        f"{second} images that are also {first} images: {copies.count:,} of {copies.total:,}, such as {copies.example}"
    )


def describe_label_conflicts(conflicts: Copies) -> str:
    """Return a line about pictures with two labels."""
    return f"pictures with two labels: {conflicts.count:,}, such as {conflicts.example}"


def list_notes(rules: PixelRules, splits: Mapping[str, SplitFiles]) -> list[str]:
    """Return lines on how images are shown: transparency, 16 bits, orientation."""
    return describe_traits(rules, _sum_counts(splits))


def list_warnings(splits: Mapping[str, SplitFiles]) -> list[str]:
    """Return lines on images that are copies of others, or have one colour only."""
    lines = [describe_split_copies(pair, copies) for pair, copies in find_split_copies(splits).items()]
    conflicts = find_label_conflicts(splits) if splits else None
    if conflicts is not None:
        lines.append(describe_label_conflicts(conflicts))
    return lines + describe_plain_colours(splits)


def describe_plain_colours(splits: Mapping[str, SplitFiles]) -> list[str]:
    """Return a line about images of one colour, if there are any."""
    count = _sum_counts(splits).get(PLAIN_COLOUR, 0)
    if not count:
        return []
    example = next(s.facts.examples[PLAIN_COLOUR] for s in splits.values() if PLAIN_COLOUR in s.facts.examples)
    return [f"images of one colour: {count:,}, such as {example}"]


def describe_alike_classes(classes: Sequence[str]) -> list[str]:
    """Return a line about classes whose names mean the same to people, such as cat and Cat, 1 and 01, if any."""
    names_by_form: dict[str, list[str]] = {}
    for name in classes:
        names_by_form.setdefault(_simplify_name(name), []).append(name)
    alike = [names for names in names_by_form.values() if len(names) > 1]
    if not alike:
        return []
    named = "; ".join(" and ".join(repr(name) for name in names) for names in alike[:SHOWN_ALIKE])
    difference = "letter case, spaces, zeros or the form of Unicode"
    return [f"classes whose names differ only in {difference}: {len(alike):,}, such as {named}"]


def describe_joined_classes(classes: Sequence[str]) -> list[str]:
    """Return a line about classes that are several others at once, such as `cat|dog`, if there are any."""
    known = set(classes)
    joined = [name for name in classes if len(parts := _split_name(name)) > 1 and known.issuperset(parts)]
    if not joined:
        return []
    return [f"classes that are several others at once: {len(joined):,}, such as '{joined[0]}' (one label per image)"]


def _split_name(name: str) -> list[str]:
    """Return the parts of a name at the signs by which lists of labels are written."""
    return [part.strip() for part in re.split(r"[|;,+&/]", name)]


def _simplify_name(name: str) -> str:
    """Return a name in lower case, with single spaces, composed characters, and numbers as 1 for 01 and 1.0."""
    simple = " ".join(unicodedata.normalize("NFKC", name).casefold().replace("_", " ").split())
    return re.sub(r"^0*(\d+)(\.0*)?$", r"\1", simple)


def describe_missing_classes(classes: Sequence[str], labels: Sequence[int], split: str) -> list[str]:
    """Return a line about classes of which no image is in a split, named for the user, if there are any."""
    present = set(labels)
    missing = [name for number, name in enumerate(classes) if number not in present]
    return (
        [f"classes without {split} images: {len(missing)} of {len(classes)}, such as '{missing[0]}'"] if missing else []
    )


def describe_first_classes(wanted: object, chosen: Sequence[str], class_count: int) -> list[str]:
    """Return a line that names the classes that a number (data.classes=10) has chosen, if it left some out."""
    if not isinstance(wanted, int) or len(chosen) == class_count:
        return []
    names = format_first([f"'{name}'" for name in chosen], SHOWN_CLASSES)
    return [f"the first {len(chosen)} of {class_count} classes, in the dataset's order: {names}"]


def _sum_counts(splits: Mapping[str, SplitFiles]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for split in splits.values():
        for trait, count in split.facts.counts.items():
            counts[trait] = counts.get(trait, 0) + count
    return counts
