"""Check a dataset: its layout, published checksums and counts, and every image file. Nothing is downloaded."""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from attncli.data.dataset import DatasetSource, LazySplit
from attncli.data.images.decode import decode_whole
from attncli.data.images.files import ImageFile, ImageFileList, UnreadableFile, describe_failure, map_in_order
from attncli.data.paths import DataPaths
from attncli.data.readers.download import has_checksum
from attncli.data.registry import read_source
from attncli.errors import UserError
from attncli.recipe import Data

UNLIMITED_SIDE = 1 << 30  # longer than the shorter side of any image, so images keep their size


@dataclass(frozen=True)
class SplitCounts:
    """One split: its images and classes, and the number of images in the smallest and the largest class."""

    part: str
    images: int
    classes: int
    smallest: int
    largest: int


@dataclass
class VerificationReport:
    """The splits, what is wrong (each problem names a file or a figure), and what is only unusual."""

    dataset: str
    origin: str = ""
    parts: list[SplitCounts] = field(default_factory=list)
    checked: int = 0  # image files decoded
    sums: int = 0  # published checksums that agree
    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def inspect_dataset(data: Data, paths: DataPaths) -> VerificationReport:
    """Check everything. If the layout itself is wrong, that is the only problem reported."""
    report = VerificationReport(data.name)
    try:
        source = read_source(data, paths)
    except UserError as error:
        report.problems += [part.problem for part in error.single_errors]
        report.remarks += [part.hint for part in error.single_errors if part.hint]
        return report
    report.origin = source.origin
    report.remarks += source.notes
    lazy_splits = {"train": source.train, "val": source.val, "test": source.test}
    for name, part in lazy_splits.items():
        if part is not None:
            _count_split(name, part, len(source.classes), report)
    _compare_published_counts(source, report)
    changed_files = [path for path, expected in source.checksums if path.exists() and not has_checksum(path, expected)]
    report.problems += [f"{path}: differs from the published file (checksum)" for path in changed_files]
    report.sums = sum(path.exists() for path, _ in source.checksums) - len(changed_files)
    _decode_all_files(
        {name: part.files for name, part in lazy_splits.items() if part is not None and part.files}, paths, report
    )
    return report


def _count_split(name: str, lazy_split: LazySplit, classes: int, report: VerificationReport) -> None:
    counts = lazy_split.labels.bincount(minlength=classes)
    present = counts[counts > 0]
    limits = (int(present.min()), int(present.max())) if len(present) else (0, 0)
    report.parts.append(SplitCounts(name, len(lazy_split.labels), len(present), *limits))
    if len(present) < classes:
        report.problems.append(f"{name}: {classes - len(present)} of {classes} classes have no image")


def _compare_published_counts(source: DatasetSource, report: VerificationReport) -> None:
    image_counts = {split_counts.part: split_counts.images for split_counts in report.parts}
    for name, expected in zip(("train", "test"), source.published_counts or (), strict=False):
        if image_counts[name] != expected:
            report.problems.append(f"{name}: {image_counts[name]:,} images, {expected:,} were published")


def _decode_all_files(split_files: dict[str, ImageFileList], paths: DataPaths, report: VerificationReport) -> None:
    """Decode every file of every split, and remark on files with the same content in two splits."""
    first_places: dict[bytes, str] = {}
    duplicates: list[tuple[str, str]] = []
    for name, files in split_files.items():
        completed = 0
        for digests, unreadable in map_in_order(partial(_digest_files, files), files.files):
            for digest, path in digests:
                first = first_places.setdefault(digest, f"{name}:{path}")
                if not first.startswith(f"{name}:"):
                    duplicates.append((first, f"{name}:{path}"))
            report.problems += [f"{path}: {reason}" for path, reason in unreadable]
            completed += len(digests)
            paths.progress(f"checking {name} images", completed, len(files))
        report.checked += completed
    if duplicates:
        first, second = duplicates[0]
        report.remarks.append(f"{len(duplicates)} images are in two splits, for example {first} = {second}")


def _digest_files(
    files: ImageFileList, chunk_files: Sequence[ImageFile]
) -> tuple[list[tuple[bytes, str]], list[UnreadableFile]]:
    """Return the digest of each file's content, and the files that are no images."""
    digests, unreadable = [], []
    for file in chunk_files:
        try:
            content = files.read_content(file)
            digests.append((hashlib.sha256(content).digest(), file.path))
            decode_whole(io.BytesIO(content), UNLIMITED_SIDE)
        except Exception as error:  # what a decoder raises on broken input is not a closed list
            unreadable.append((file.path, describe_failure(error)))
    return digests, unreadable
