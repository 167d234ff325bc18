"""Decoded images on disk: decoded once by a pool of threads, then mapped into memory, near instantly.

`<cache>/<key>.bin` holds the raw uint8 pixels, `<key>.json` their shape, SHA-256, mean and deviation. The key is made
of each file's name, size and time of last change, of the folder and of the size wanted, so a changed file means
another key. Both are written under other names and renamed, .json last: what is there is whole. Two processes that
want the same images take turns, and the second finds the work done; a writing that was interrupted is gone on with.
"""

import json
import math
import mmap
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from attncli.data.dataset import ImageArray, make_image_array
from attncli.data.images import resumable_writer
from attncli.data.images.decode import OtherSizeError, Target, decode_image
from attncli.data.images.files import ImageFile, ImageFileList, UnreadableFile, describe_failure
from attncli.data.images.resumable_writer import DecodedChunk
from attncli.data.lock import exclusive_lock
from attncli.data.paths import DataPaths
from attncli.errors import UserError

NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)  # in Python from 3.13 on
DECODING_VERSION = 1  # to be raised whenever the same files would be decoded to other pixels


def read_cached_images(files: ImageFileList, target: Target, activity: str, paths: DataPaths) -> ImageArray:
    """The pixels (n, H, W, 3) of files, in their order, decoded if they are not in the cache.

    Raises UserError that names files that can't be read, a folder that can't be written, or a full disk.
    """
    share_key = () if target.share == 1 else (target.share,)
    key = files.make_key(DECODING_VERSION, target, *share_key)
    binary, description_path = paths.cache / f"{key}.bin", paths.cache / f"{key}.json"
    shape = (len(files), target.height, target.width, 3)

    def decode_all() -> ImageArray:
        check_free_space(paths.cache, math.prod(shape) - resumable_writer.count_partial_bytes(binary))
        return _write_entry(files, target, activity, paths, binary, description_path)

    return get_or_create(binary, lambda: _load_entry(binary, description_path, shape), decode_all)


def get_or_create(entry: Path, load: Callable[[], Any], create: Callable[[], Any]) -> Any:
    """What `load` finds, else what `decode_all` makes, by one process at a time. Raises UserError for the disk's
    errors.
    """
    content = load()
    if content is not None:
        return content
    with cache_disk_errors(entry.parent), exclusive_lock(entry.with_suffix(".lock")):
        content = load()
        return create() if content is None else content


@contextmanager
def cache_disk_errors(folder: Path) -> Iterator[None]:
    """Turn a folder that can't be written, or a full disk, into a UserError."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{error.filename or folder}: can't keep decoded images: {error.strerror or error}",
            "free some space or choose another place for runs",
        ) from error


def _load_entry(binary: Path, description_path: Path, shape: tuple[int, ...]) -> ImageArray | None:
    """The pixels of a whole entry, or None."""
    try:
        description = json.loads(description_path.read_text(encoding="utf-8"))
        if binary.stat().st_size != math.prod(shape) or description["shape"] != list(shape):
            return None
    except (OSError, ValueError, KeyError):
        return None
    return ImageArray(
        map_file(binary, shape), description["sha256"], tuple(description["mean"]), tuple(description["std"])
    )


def map_file(binary: Path, shape: tuple[int, ...]) -> torch.Tensor:
    """The file in memory, page by page as it is used; what is written into the tensor stays in this process.

    No memory is set aside for that: an ImageNet's cache is larger than most machines' memory, and Linux would refuse.
    """
    with binary.open("rb") as file:
        flags, access = mmap.MAP_PRIVATE | NORESERVE, mmap.PROT_READ | mmap.PROT_WRITE
        mapped = mmap.mmap(file.fileno(), math.prod(shape), flags=flags, prot=access)
    return torch.frombuffer(mapped, dtype=torch.uint8).view(shape)


def check_free_space(folder: Path, size: int) -> None:
    """Raise UserError where a folder (made if need be) has no room for `size` bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < size:
        raise UserError(
            f"{folder}: no room for decoded images: {size / 2**20:,.0f} MiB needed, {free / 2**20:,.0f} MiB free",
            "free some space, choose another place for runs, or take fewer or smaller images "
            "(data.per_class, data.image_size)",
        )


def _write_entry(
    files: ImageFileList, target: Target, activity: str, paths: DataPaths, binary: Path, description_path: Path
) -> ImageArray:
    """Decode all files into the cache. Called with the entry's lock held."""

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
    description = {"shape": list(array.values.shape), "sha256": array.sha256, "mean": array.mean, "std": array.std}
    finish_entry(binary, description_path, description | {"decoded_from": str(files.root)})
    return array


def finish_entry(binary: Path, description_path: Path, description: dict[str, Any]) -> None:
    """Give the written bytes their name, then the facts theirs."""
    resumable_writer.partial_path(binary).replace(binary)
    write_description(description_path, description)
    resumable_writer.remove_partial_files(binary)


def write_description(description_path: Path, description: dict[str, Any]) -> None:
    """Write the description of an entry, whole or not at all."""
    temporary = description_path.with_name(f".{description_path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(description, indent=None if "sizes" in description else 1), encoding="utf-8")
    temporary.replace(description_path)


def _decode_chunk(files: ImageFileList, chunk_files: Sequence[ImageFile], target: Target) -> DecodedChunk:
    """Pixels of a few files, zeros for those that can't be read, and why they can't."""
    images = np.zeros((len(chunk_files), target.height, target.width, 3), np.uint8)
    unreadable: list[UnreadableFile] = []
    for i, file in enumerate(chunk_files):
        try:
            images[i] = decode_image(files.open_file(file), target)
        except OtherSizeError as error:
            raise UserError(
                f"{files.root}: images differ in size: {target.like} is {target.width} x {target.height}, "
                f"{file.path} is {error}",
                "data.image_size (--image-size) resizes and cuts them all to one size",
            ) from error
        except Exception as error:  # what a decoder raises on broken input is not a closed list
            unreadable.append((file.path, describe_failure(error)))
    return DecodedChunk(list(images), [], unreadable)
