"""Check a dataset: its layout, published checksums and counts, and every image file. Nothing is downloaded."""

from dataclasses import dataclass, field

from attncli.data.dataset import DatasetSource, LazySplit
from attncli.data.paths import DataPaths
from attncli.data.readers.download import has_checksum
from attncli.data.registry import read_source
from attncli.data.remarks import describe_alike_classes, describe_joined_classes
from attncli.data.verify_images import inspect_images
from attncli.dataset_catalog import has_origin
from attncli.errors import UserError
from attncli.quantities import format_quantity
from attncli.recipe import Data


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
    """The splits, what is wrong (each problem names a file or a figure), what repairs it, and what is only unusual."""

    dataset: str
    origin: str = ""
    parts: list[SplitCounts] = field(default_factory=list)
    checked: int = 0  # image files decoded
    sums: int = 0  # published checksums that agree
    problems: list[str] = field(default_factory=list)
    repairs: list[str] = field(default_factory=list)  # what to do, one text per kind of problem
    remarks: list[str] = field(default_factory=list)


def inspect_dataset(data: Data, paths: DataPaths) -> VerificationReport:
    """Check everything. If the layout itself is wrong, that is the only problem reported."""
    report = VerificationReport(data.name)
    try:
        source = read_source(data, paths)
    except UserError as error:
        report.problems += [part.problem for part in error.single_errors]
        report.remarks += [part.hint for part in error.single_errors if part.hint]
        report.repairs.append("see the notes above")
        return report
    report.origin = source.origin
    report.remarks += source.notes
    lazy_splits = {"train": source.train, "val": source.val, "test": source.test}
    for name, part in lazy_splits.items():
        if part is not None:
            _count_split(name, part, len(source.classes), report)
    report.remarks += describe_alike_classes(source.classes) + describe_joined_classes(source.classes)
    _compare_published_counts(source, report)
    changed_files = [path for path, expected in source.checksums if path.exists() and not has_checksum(path, expected)]
    report.problems += [f"{path}: differs from the published file (checksum)" for path in changed_files]
    report.repairs += ["get the files whose checksum differs again"] * bool(changed_files)
    report.sums = sum(path.exists() for path, _ in source.checksums) - len(changed_files)
    is_own = any(has_origin(name, "user", "hub") for name in (data.name, data.of))
    findings = inspect_images(source, paths, is_own=is_own)
    report.checked = findings.checked
    report.problems += findings.problems
    report.repairs += ["fix or remove the files listed above"] * bool(findings.problems)
    report.repairs += ["--set data.bad=skip trains without the unreadable ones"] * bool(findings.unreadable)
    report.remarks += findings.remarks
    return report


def _count_split(name: str, lazy_split: LazySplit, classes: int, report: VerificationReport) -> None:
    counts = lazy_split.labels.bincount(minlength=classes)
    present = counts[counts > 0]
    limits = (int(present.min()), int(present.max())) if len(present) else (0, 0)
    report.parts.append(SplitCounts(name, len(lazy_split.labels), len(present), *limits))
    if len(present) < classes:
        report.problems.append(f"{name}: {classes - len(present)} of {classes} classes have no image")
        report.repairs.append(f"add images of these classes to {name}, or remove their folders")


def _compare_published_counts(source: DatasetSource, report: VerificationReport) -> None:
    image_counts = {split_counts.part: split_counts.images for split_counts in report.parts}
    published_counts = dict(zip(("train", "test"), source.published_counts or (), strict=False))
    different = {name: count for name, count in published_counts.items() if image_counts[name] != count}
    for name, expected in different.items():
        report.problems.append(f"{name}: {format_quantity(image_counts[name], 'image')}, {expected:,} were published")
    report.repairs += ["get the whole dataset again; a part of it is a dataset of your own: --dataset folder"] * bool(
        different
    )
