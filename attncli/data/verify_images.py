"""Decode every image file of a dataset: unreadable ones, how they are shown, copies, and pictures with two labels."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

from attncli.data.dataset import DatasetSource
from attncli.data.images.decode import decode_whole
from attncli.data.images.files import ImageFile, ImageFileList, describe_failure, map_in_order
from attncli.data.images.grey_range import find_grey_range
from attncli.data.images.image_facts import ImageFacts, hash_content
from attncli.data.images.look_alikes import Sketch, find_look_alikes, sketch_image
from attncli.data.images.pixel_rules import FULL_RANGE, PLAIN_RULES, PixelRules
from attncli.data.paths import DataPaths
from attncli.data.remarks import (
    SplitFiles,
    describe_label_conflicts,
    describe_plain_colours,
    describe_split_copies,
    find_label_conflicts,
    find_split_copies,
    list_notes,
)


@dataclass
class ImageFindings:
    """How many files were decoded and how many could not be, what is wrong, and what is only unusual."""

    checked: int = 0
    unreadable: int = 0
    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


class CheckedImage(NamedTuple):
    """A readable image: its split, path and class, a digest of its pixels, its traits, and what it looks like."""

    split: str
    path: str
    label: str
    hash: bytes
    traits: set[str]
    sketch: Sketch | None


def inspect_images(source: DatasetSource, paths: DataPaths, *, is_own: bool) -> ImageFindings:
    """Decode every file. Copies and pictures with two labels are problems of a user's own images, else remarks."""
    findings = ImageFindings()
    lazy_splits = {"train": source.train, "val": source.val, "test": source.test}
    file_lists = {name: split.files for name, split in lazy_splits.items() if split is not None and split.files}
    rules = _settle_rules(file_lists, paths)
    images: list[CheckedImage] = []
    for name, files in file_lists.items():
        lazy_split = lazy_splits[name]
        assert lazy_split is not None
        labels = [source.classes[label] for label in lazy_split.labels.tolist()]
        images += _decode_split(name, replace(files, rules=rules), labels, paths, findings, with_sketches=is_own)
    findings.checked = len(images)
    split_files = {name: _collect_files(images, name) for name in file_lists}
    findings.remarks += list_notes(rules, split_files)
    copies = [describe_split_copies(pair, copies) for pair, copies in find_split_copies(split_files).items()]
    conflicts = find_label_conflicts(split_files) if split_files else None
    copies += [describe_label_conflicts(conflicts)] if conflicts is not None else []
    (findings.problems if is_own else findings.remarks).extend(copies)
    findings.remarks += [*describe_plain_colours(split_files), *_describe_look_alikes(images)]
    return findings


def _settle_rules(file_lists: dict[str, ImageFileList], paths: DataPaths) -> PixelRules:
    """Return the rules of the files; if the range of 16-bit images is open, it is read."""
    rules = next((files.rules for files in file_lists.values()), PLAIN_RULES)
    if rules.grey_range is not None:
        return rules
    ranges = (find_grey_range(file_lists[name], paths) for name in ("train", "test", "val") if name in file_lists)
    grey_range = next(filter(None, ranges), None)
    return replace(rules, grey_range=grey_range or FULL_RANGE, refuses_32_bits=grey_range is None)


def _decode_split(
    split: str,
    files: ImageFileList,
    labels: Sequence[str],
    paths: DataPaths,
    findings: ImageFindings,
    *,
    with_sketches: bool,
) -> list[CheckedImage]:
    """Return the readable images of a split; the others become problems.

    Args:
        split: its name.
        files: its files.
        labels: the class of each file.
        paths: gets the progress.
        findings: gets the problems.
        with_sketches: whether to keep what each image looks like.
    """
    images: list[CheckedImage] = []
    row = 0
    for results in map_in_order(partial(_decode_chunk, files, split, with_sketches=with_sketches), files.files):
        for result in results:
            if isinstance(result, CheckedImage):
                images.append(result._replace(label=labels[row]))
            else:
                findings.problems.append(result)
                findings.unreadable += 1
            row += 1
        paths.progress(f"checking {split} images", row, len(files))
    return images


def _decode_chunk(
    files: ImageFileList, split: str, chunk_files: Sequence[ImageFile], *, with_sketches: bool
) -> list[CheckedImage | str]:
    """Return each image, its label still empty, or why it cannot be read."""
    results: list[CheckedImage | str] = []
    for file in chunk_files:
        try:
            pixels, traits = decode_whole(io.BytesIO(files.read_content(file)), None, files.rules)
            pixel_hash = hash_content(repr(pixels.shape).encode() + pixels.tobytes())
            sketch = sketch_image(pixels) if with_sketches else None
            results.append(CheckedImage(split, file.path, "", pixel_hash, traits, sketch))
        except Exception as error:  # what a decoder raises on broken input is not a closed list
            results.append(f"{file.path}: {describe_failure(error)}")
    return results


def _collect_files(images: Sequence[CheckedImage], split: str) -> SplitFiles:
    own_images = [image for image in images if image.split == split]
    facts = ImageFacts(b"".join(image.hash for image in own_images))
    for image in own_images:
        facts.count_traits(image.path, image.traits)
    return SplitFiles([image.path for image in own_images], [image.label for image in own_images], facts)


def _describe_look_alikes(images: Sequence[CheckedImage]) -> list[str]:
    """Return lines on images that look alike, with other pixels, and are in two splits or have two labels."""
    sketched = [(image, image.sketch) for image in images if image.sketch is not None]
    all_pairs = find_look_alikes([sketch for _, sketch in sketched])
    pairs = [(sketched[first][0], sketched[second][0]) for first, second in all_pairs]
    pairs = [(first, second) for first, second in pairs if first.hash != second.hash]
    lines = []
    for attribute, words in (("split", "are in two splits"), ("label", "have two labels")):
        differing = [pair for pair in pairs if getattr(pair[0], attribute) != getattr(pair[1], attribute)]
        if differing:
            first, second = differing[0]
            example = f"{first.path} ({first.label}) and {second.path} ({second.label})"
            lines.append(f"pairs of images that look alike and {words}: {len(differing):,}, such as {example}")
    return lines
