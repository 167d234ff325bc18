"""Whole images of different sizes for random resized crops: decoded on disk and mapped, or decoded in every epoch.

`<cache>/<key>.bin` holds the pixels, image after image, each shrunk to cover 1.5 times the training size;
`<key>.json` holds their sizes and a SHA-256 of the files. Memory is bounded: the system loads and drops pages of the
map, and decoding keeps only a few chunks in memory. With `data.decoded=false` only the sizes are kept and every epoch
decodes the images again; they are the same to the last bit.
"""

import hashlib
import io
import json
import math
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch

from attncli.data.images import resumable_writer
from attncli.data.images.arrays import ImagePixels, VariableSizeImages
from attncli.data.images.decode import decode_whole, read_header, read_image_size, shrink_size
from attncli.data.images.decoded_cache import (
    check_free_space,
    collect_facts,
    finish_entry,
    get_or_create,
    keep_current_description,
    load_facts,
    map_file,
    write_description,
)
from attncli.data.images.files import (
    ImageFile,
    ImageFileList,
    UnreadableFile,
    describe_failure,
    map_in_order,
    stamp_files,
)
from attncli.data.images.image_facts import HASH_BYTES, ImageFacts, hash_content
from attncli.data.images.pixel_rules import DeepGreyError, format_rules
from attncli.data.images.resumable_writer import DecodedChunk
from attncli.data.images.versions import DECODING_VERSION
from attncli.data.paths import DataPaths
from attncli.errors import RunFailedError
from attncli.recipe.image_size import format_image_size

CHUNK_SIZE = 8  # images per task: a few of them are in memory for each core
ImageSize = tuple[int, int]  # (H, W)
KEPT_SIZE_RATIO = 1.5  # size that is covered / training size; the average crop then needs no upscaling


def read_whole_images(
    files: ImageFileList, size: tuple[int, int], activity: str, paths: DataPaths, *, keep_decoded: bool
) -> VariableSizeImages:
    """Return the files as whole images for training.

    Args:
        files: the image files in order.
        size: size (H, W) of the crops.
        activity: name of the work in progress reports.
        paths: folder of the decoded images, and progress.
        keep_decoded: decode into the cache; otherwise keep only the sizes and decode in every epoch.

    Raises:
        UserError: naming unreadable files, a folder that cannot be written, or a full disk.
    """
    covered = round(KEPT_SIZE_RATIO * size[0]), round(KEPT_SIZE_RATIO * size[1])
    key = files.make_key(DECODING_VERSION, "whole" if keep_decoded else "sizes", _name_size(covered))
    binary, description_path = paths.cache / f"{key}.bin", paths.cache / f"{key}.json"

    def create_entry() -> dict[str, Any]:
        paths.cache.mkdir(parents=True, exist_ok=True)
        if keep_decoded:
            return _write_whole_images(files, covered, activity, paths, binary, description_path)
        return _scan_sizes(files, covered, activity.replace("decoding", "looking at"), paths, description_path)

    description = get_or_create(
        binary, lambda: _load_description(files, binary, description_path, keep_decoded), create_entry
    )
    height, width = torch.tensor(description["sizes"], dtype=torch.int64).view(-1, 2).unbind(1)
    sizes, facts = description["sizes"], load_facts(description)
    read_row = _make_mapped_reader(binary, sizes) if keep_decoded else _make_decoding_reader(files, covered, facts)
    return VariableSizeImages(height, width, read_row, description["sha256"], facts)


def _name_size(size: tuple[int, int]) -> int | str:
    """Return the side of a square, as earlier versions named entries, or the size as text."""
    return size[0] if size[0] == size[1] else format_image_size(size)


def _load_description(
    files: ImageFileList, binary: Path, description_path: Path, keep_decoded: bool
) -> dict[str, Any] | None:
    """Return the description of a complete entry, or None."""
    try:
        description: dict[str, Any] = json.loads(description_path.read_text(encoding="utf-8"))
        is_complete = not keep_decoded or binary.stat().st_size == _count_bytes(description["sizes"])
        if not is_complete or len(description["sizes"]) != len(files) or not description["sha256"]:
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return keep_current_description(files, description_path, description)


def _count_bytes(sizes: Sequence[tuple[int, int]]) -> int:
    return sum(3 * h * w for h, w in sizes)


def _write_whole_images(
    files: ImageFileList,
    covered: ImageSize,
    activity: str,
    paths: DataPaths,
    binary: Path,
    description_path: Path,
) -> dict[str, Any]:
    """Decode all files. The caller holds the entry's lock."""
    first = files.files[0]
    try:
        guess = 3 * math.prod(shrink_size(*read_image_size(files.open_file(first), files.rules), covered))
    except Exception:  # no image: reported with all others below
        guess = 0
    check_free_space(paths.cache, guess * len(files) - resumable_writer.count_partial_bytes(binary))
    state = resumable_writer.write_images(
        binary,
        files.files,
        lambda chunk_files: _decode_whole_chunk(files, chunk_files, covered),
        lambda completed: paths.progress(activity, completed, len(files)),
        CHUNK_SIZE,
    )
    if state.unreadable:
        resumable_writer.remove_partial_files(binary)
        raise files.unreadable_error(state.unreadable, len(files))
    description = _make_description(files, state.metadata, covered)
    finish_entry(binary, description_path, description)
    return description


def _decode_whole_chunk(files: ImageFileList, chunk_files: Sequence[ImageFile], covered: ImageSize) -> DecodedChunk:
    """Decode a few files, with sizes and the SHA-256 of their content; an unreadable file is one black pixel."""
    images, unreadable, digest, facts = [], [], hashlib.sha256(), ImageFacts()
    for file in chunk_files:
        try:
            content = files.read_content(file)
            digest.update(hashlib.sha256(content).digest())
            pixels, traits = decode_whole(io.BytesIO(content), covered, files.rules)
            images.append(pixels)
            facts.add_file(file.path, content, traits)
        except DeepGreyError:
            raise
        except Exception as error:  # what a decoder raises on broken input is not a closed list
            unreadable.append((file.path, describe_failure(error)))
            images.append(np.zeros((1, 1, 3), np.uint8))
    sizes = [image.shape[:2] for image in images]
    return DecodedChunk(images, [[sizes, digest.hexdigest(), facts.to_json_dict()]], unreadable)


def _scan_sizes(
    files: ImageFileList, covered: ImageSize, activity: str, paths: DataPaths, description_path: Path
) -> dict[str, Any]:
    """Read and save sizes and checksums of all files without decoding. The caller holds the entry's lock."""
    chunks, unreadable, completed = [], [], 0
    for sizes, digest, facts, chunk_unreadable in map_in_order(
        lambda chunk_files: _scan_chunk(files, chunk_files, covered), files.files, CHUNK_SIZE
    ):
        chunks.append([sizes, digest, facts])
        unreadable += chunk_unreadable
        completed += len(sizes)
        paths.progress(activity, completed, len(files))
    if unreadable:
        raise files.unreadable_error(unreadable, len(files))
    description = _make_description(files, chunks, covered)
    write_description(description_path, description)
    return description


def _scan_chunk(
    files: ImageFileList, chunk_files: Sequence[ImageFile], covered: ImageSize
) -> tuple[list[tuple[int, int]], str, dict[str, Any], list[UnreadableFile]]:
    sizes, unreadable, digest, facts = [], [], hashlib.sha256(), ImageFacts()
    for file in chunk_files:
        try:
            content = files.read_content(file)
            digest.update(hashlib.sha256(content).digest())
            size, traits = read_header(io.BytesIO(content), files.rules)
            sizes.append(shrink_size(*size, covered))
            facts.add_file(file.path, content, traits)
        except DeepGreyError:
            raise
        except Exception as error:  # as above
            unreadable.append((file.path, describe_failure(error)))
            sizes.append((1, 1))
    return sizes, digest.hexdigest(), facts.to_json_dict(), unreadable


def _make_description(files: ImageFileList, chunks: Sequence[Any], covered: ImageSize) -> dict[str, Any]:
    """Return the description of an entry from the sizes, the digest and the facts of each chunk."""
    facts = collect_facts(files, [chunk[2] for chunk in chunks if len(chunk) > 2])
    rules = "" if facts is None else format_rules(files.rules, facts.counts)
    contents = "/".join(chunk[1] for chunk in chunks)
    digest = hashlib.sha256(f"{DECODING_VERSION}/{_name_size(covered)}/{contents}{rules}".encode())
    description = {"sizes": [list(size) for chunk in chunks for size in chunk[0]], "sha256": digest.hexdigest()}
    return (
        description
        if facts is None
        else description | {"files": facts.to_json_dict(), "stamp": stamp_files(files.files)}
    )


def _make_mapped_reader(binary: Path, sizes: Sequence[tuple[int, int]]) -> Callable[[int], ImagePixels]:
    """Return a function that reads an image by its number from the mapped file."""
    starts = [0, *accumulate(3 * h * w for h, w in sizes)]
    flat = map_file(binary, (starts[-1],)).numpy()
    return lambda row: flat[starts[row] : starts[row + 1]].reshape(*sizes[row], 3)


def _make_decoding_reader(
    files: ImageFileList, covered: ImageSize, facts: ImageFacts | None
) -> Callable[[int], ImagePixels]:
    """Return a function that decodes an image by its number on demand; own images must be those that were read."""
    hashes = b"" if facts is None else facts.hashes

    def decode_row(row: int) -> ImagePixels:
        file = files.files[row]
        try:
            content = files.read_content(file)
            if hashes and hash_content(content) != hashes[HASH_BYTES * row :][:HASH_BYTES]:
                raise ValueError("its content changed while the run trains")
            return decode_whole(io.BytesIO(content), covered, files.rules).pixels
        except Exception as error:
            raise RunFailedError(f"{files.root / file.path}: {describe_failure(error)}", "fix or restore it") from error

    return decode_row
