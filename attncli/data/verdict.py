"""Is a dataset whole? Its layout, published sums and counts, and every image file, looked at; nothing is downloaded."""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from attncli.data.dataset import Part, Source
from attncli.data.decode import decode_whole
from attncli.data.download import sound
from attncli.data.files import Bad, File, Files, in_order, reason
from attncli.data.find import read_source
from attncli.data.place import Place
from attncli.errors import UserError
from attncli.recipe import Data

WHOLE = 1 << 30  # a shorter side that no image has: decoded as it is


@dataclass(frozen=True)
class Counted:
    """One part: its images and classes, and the images of the smallest and the largest class."""

    part: str
    images: int
    classes: int
    smallest: int
    largest: int


@dataclass
class Verdict:
    """What was found: the parts, what is wrong (each with a file or a figure in it), and what is merely odd."""

    dataset: str
    origin: str = ""
    parts: list[Counted] = field(default_factory=list)
    checked: int = 0  # image files decoded
    sums: int = 0  # published sums that agree
    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def verify(data: Data, place: Place) -> Verdict:
    """Look at everything. A problem of the layout as a whole ends the search and is the only one told."""
    verdict = Verdict(data.name)
    try:
        source = read_source(data, place)
    except UserError as error:
        verdict.problems += [part.problem for part in error.parts]
        verdict.remarks += [part.hint for part in error.parts if part.hint]
        return verdict
    verdict.origin = source.origin
    parts = {"train": source.train, "val": source.val, "test": source.test}
    for name, part in parts.items():
        if part is not None:
            _count(name, part, len(source.classes), verdict)
    _published(source, verdict)
    wrong = [path for path, expected in source.sums if path.exists() and not sound(path, expected)]
    verdict.problems += [f"{path}: not as it was published (its sum differs)" for path in wrong]
    verdict.sums = sum(path.exists() for path, _ in source.sums) - len(wrong)
    _decode({name: part.files for name, part in parts.items() if part is not None and part.files}, place, verdict)
    return verdict


def _count(name: str, part: Part, classes: int, verdict: Verdict) -> None:
    counts = part.labels.bincount(minlength=classes)
    there = counts[counts > 0]
    verdict.parts.append(Counted(name, len(part.labels), len(there), int(there.min()), int(there.max())))
    if len(there) < classes:
        verdict.problems.append(f"{name}: {classes - len(there)} of {classes} classes have no image")


def _published(source: Source, verdict: Verdict) -> None:
    found = {part.part: part.images for part in verdict.parts}
    for name, expected in zip(("train", "test"), source.counts or (), strict=False):
        if found[name] != expected:
            verdict.problems.append(f"{name}: {found[name]:,} images, {expected:,} were published")


def _decode(parts: dict[str, Files], place: Place, verdict: Verdict) -> None:
    """Decode every file of every part; the same content twice is told where it is in two parts."""
    seen: dict[bytes, str] = {}
    twins: list[tuple[str, str]] = []
    for name, files in parts.items():
        done = 0
        for digests, bad in in_order(partial(_look, files), files.files):
            for digest, path in digests:
                first = seen.setdefault(digest, f"{name}:{path}")
                if not first.startswith(f"{name}:"):
                    twins.append((first, f"{name}:{path}"))
            verdict.problems += [f"{path}: {why}" for path, why in bad]
            done += len(digests)
            place.progress(f"checking {name} images", done, len(files))
        verdict.checked += done
    if twins:
        first, second = twins[0]
        verdict.remarks.append(f"{len(twins)} images are in two parts, for example {first} = {second}")


def _look(files: Files, some: Sequence[File]) -> tuple[list[tuple[bytes, str]], list[Bad]]:
    """The digest of each file's content, and the files that are no images."""
    digests, bad = [], []
    for file in some:
        try:
            content = files.content(file)
            digests.append((hashlib.sha256(content).digest(), file.path))
            decode_whole(io.BytesIO(content), WHOLE)
        except Exception as error:  # what a decoder raises on broken input is not a closed list
            bad.append((file.path, reason(error)))
    return digests, bad
