"""Cache of decoded images: a pool of threads decodes them once, after that they are mapped into memory.

`<cache>/<key>.bin` holds the raw uint8 pixels, `<key>.json` their shape, SHA-256, mean and standard deviation. The key
depends on each file's name, size and time of change, on the folder and on the target size, so a changed file means
another key. Both files are written under temporary names and renamed, .json last, so an entry is complete or not there.
Only one process writes an entry, the others wait for it. An interrupted write resumes.
"""

import io
import json
import math
import mmap
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock

from attncli.data.images import resumable_writer
from attncli.data.images.arrays import ImageArray, make_image_array
from attncli.data.images.decode import OtherSizeError, Target, decode_image
from attncli.data.images.entry_check import check_entry
from attncli.data.images.files import ImageFile, ImageFileList, UnreadableFile, describe_failure, stamp_files
from attncli.data.images.image_facts import ImageFacts, join_facts, parse_facts
from attncli.data.images.pixel_rules import PLAIN_RULES, DeepGreyError
from attncli.data.images.resumable_writer import DecodedChunk
from attncli.data.images.versions import DECODING_VERSION
from attncli.data.paths import DataPaths
from attncli.errors import UserError
from attncli.system.files import write_atomically

NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)  # part of Python since 3.13


def read_cached_images(files: ImageFileList, target: Target, activity: str, paths: DataPaths) -> ImageArray:
    """Return the pixels (n, H, W, 3) of files in their order; decode them if they are not in the cache.

    Raises UserError that names unreadable files, a folder that cannot be written, or a full disk.
    """
    share_key = () if target.share == 1 else (target.share,)
    key = files.make_key(DECODING_VERSION, target, *share_key)
    binary, description_path = paths.cache / f"{key}.bin", paths.cache / f"{key}.json"
    shape = (len(files), target.height, target.width, 3)

    def decode_all() -> ImageArray:
        check_free_space(paths.cache, math.prod(shape) - resumable_writer.count_partial_bytes(binary))
        return _write_entry(files, target, activity, paths, binary, description_path)

    return get_or_create(binary, lambda: _load_entry(files, binary, description_path, shape), decode_all)


def get_or_create(entry: Path, load: Callable[[], Any], create: Callable[[], Any]) -> Any:
    """Return what `load` returns, or if that is None what `create` returns, in one process at a time.

    Raises UserError for errors of the disk.
    """
    content = load()
    if content is not None:
        return content
    with cache_disk_errors(entry.parent), FileLock(entry.with_suffix(".lock")):
        content = load()
        return create() if content is None else content


@contextmanager
def cache_disk_errors(folder: Path) -> Iterator[None]:
    """Turn a folder that cannot be written, or a full disk, into a UserError."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{error.filename or folder}: cannot keep decoded images: {error.strerror or error}",
            "free some space or choose another folder with --runs",
        ) from error


def _load_entry(
    files: ImageFileList, binary: Path, description_path: Path, shape: tuple[int, ...]
) -> ImageArray | None:
    """Return the pixels of a complete entry, or None."""
    try:
        description = json.loads(description_path.read_text(encoding="utf-8"))
        if binary.stat().st_size != math.prod(shape) or description["shape"] != list(shape):
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    description = keep_current_description(files, description_path, description)
    if description is None:
        return None
    return ImageArray(
        map_file(binary, shape),
        description["sha256"],
        tuple(description["mean"]),
        tuple(description["std"]),
        load_facts(description),
    )


def keep_current_description(
    files: ImageFileList, description_path: Path, description: dict[str, Any]
) -> dict[str, Any] | None:
    """Return the description of an entry, or None if its files have other content now; a new stamp is saved."""
    checked_description = check_entry(files, description)
    if checked_description is not None and checked_description is not description:
        with suppress(OSError):
            write_description(description_path, checked_description)
    return checked_description


def load_facts(description: dict[str, Any]) -> ImageFacts | None:
    """Return the facts about the images of an entry, or None if it has none."""
    return parse_facts(description["files"]) if "files" in description else None


def map_file(binary: Path, shape: tuple[int, ...]) -> torch.Tensor:
    """Map a file into memory, page by page as it is used; changes of the tensor stay in this process.

    No memory is reserved for such changes: the cache of ImageNet is larger than the memory of most machines, and Linux
    would refuse.
    """
    with binary.open("rb") as file:
        if hasattr(mmap, "MAP_PRIVATE"):
            flags, access = mmap.MAP_PRIVATE | NORESERVE, mmap.PROT_READ | mmap.PROT_WRITE
            mapped = mmap.mmap(file.fileno(), math.prod(shape), flags=flags, prot=access)
        else:  # Windows
            mapped = mmap.mmap(file.fileno(), math.prod(shape), access=mmap.ACCESS_COPY)
    return torch.frombuffer(mapped, dtype=torch.uint8).view(shape)


def check_free_space(folder: Path, size: int) -> None:
    """Raise UserError if a folder, which is created if needed, has no room for `size` bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < size:
        raise UserError(
            f"{folder}: no room for decoded images: {size / 2**20:,.0f} MiB needed, {free / 2**20:,.0f} MiB free",
            "free some space, choose another folder with --runs, or take fewer or smaller images "
            "(data.per_class, data.image_size)",
        )


def _write_entry(
    files: ImageFileList, target: Target, activity: str, paths: DataPaths, binary: Path, description_path: Path
) -> ImageArray:
    """Decode all files into the cache. The caller holds the entry's lock."""

    def decode_some(chunk_files: Sequence[ImageFile]) -> DecodedChunk:
        return _decode_chunk(files, chunk_files, target)

    state = resumable_writer.write_images(
        binary, files.files, decode_some, lambda completed: paths.progress(activity, completed, len(files))
    )
    if state.unreadable:
        resumable_writer.remove_partial_files(binary)
        raise files.unreadable_error(state.unreadable, len(files))
    array = make_image_array(
        map_file(resumable_writer.partial_path(binary), (len(files), target.height, target.width, 3))
    )
    statistics = {"shape": list(array.values.shape), "sha256": array.sha256, "mean": array.mean, "std": array.std}
    description: dict[str, Any] = statistics | {"decoded_from": str(files.root)}
    facts = collect_facts(files, state.metadata)
    if facts is not None:
        description |= {"files": facts.to_json_dict(), "stamp": stamp_files(files.files)}
    finish_entry(binary, description_path, description)
    return replace(array, facts=facts)


def collect_facts(files: ImageFileList, metadata: Sequence[dict[str, Any]]) -> ImageFacts | None:
    """Return the facts about files from those of their chunks; None for published images, of which none are kept."""
    return None if files.rules == PLAIN_RULES else join_facts([parse_facts(values) for values in metadata])


def finish_entry(binary: Path, description_path: Path, description: dict[str, Any]) -> None:
    """Give the pixels their final name, then write their description."""
    resumable_writer.partial_path(binary).replace(binary)
    write_description(description_path, description)
    resumable_writer.remove_partial_files(binary)


def write_description(description_path: Path, description: dict[str, Any]) -> None:
    """Write the description of an entry, completely or not at all."""
    write_atomically(description_path, json.dumps(description, indent=None if "sizes" in description else 1))


def _decode_chunk(files: ImageFileList, chunk_files: Sequence[ImageFile], target: Target) -> DecodedChunk:
    """Return the pixels of a few files, zeros for unreadable ones, and why these cannot be read."""
    images = np.zeros((len(chunk_files), target.height, target.width, 3), np.uint8)
    unreadable: list[UnreadableFile] = []
    facts = ImageFacts()
    for i, file in enumerate(chunk_files):
        try:
            if files.rules == PLAIN_RULES:
                images[i] = decode_image(files.open_file(file), target).pixels
                continue
            content = files.read_content(file)
            decoded = decode_image(io.BytesIO(content), target, files.rules)
            images[i] = decoded.pixels
            facts.add_file(file.path, content, decoded.traits)
        except DeepGreyError:
            raise
        except OtherSizeError as error:
            raise make_size_error(files, target, file, str(error)) from error
        except Exception as error:  # what a decoder raises on broken input is not a closed list
            unreadable.append((file.path, describe_failure(error)))
    return DecodedChunk(list(images), [facts.to_json_dict()], unreadable)


def make_size_error(files: ImageFileList, target: Target, file: ImageFile, size: str) -> UserError:
    """Return the error for an image of another size, such as 12 x 10, than that of the first."""
    problem = (
        f"{files.root}: images differ in size: {target.like} is {target.width} x {target.height}, {file.path} is {size}"
    )
    return UserError(problem, "data.image_size (--image-size) resizes and crops all of them to one size")
