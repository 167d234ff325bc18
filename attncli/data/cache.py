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

from attncli.data import journal
from attncli.data.dataset import Pixels, pixels
from attncli.data.decode import OtherSizeError, Target, decode
from attncli.data.files import Bad, File, Files, reason
from attncli.data.journal import Chunk
from attncli.data.lock import exclusive
from attncli.data.place import Place
from attncli.errors import UserError

NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)  # in Python from 3.13 on
LAYOUT = 1  # to be raised whenever the same files would be decoded to other pixels


def read_cached(files: Files, target: Target, what: str, place: Place) -> Pixels:
    """The pixels (n, H, W, 3) of files, in their order, decoded if they are not in the cache.

    Raises UserError that names files that can't be read, a folder that can't be written, or a full disk.
    """
    whole = () if target.share == 1 else (target.share,)
    key = files.key(LAYOUT, target, *whole)
    binary, facts = place.cache / f"{key}.bin", place.cache / f"{key}.json"
    shape = (len(files), target.height, target.width, 3)

    def make() -> Pixels:
        check_room(place.cache, math.prod(shape) - journal.size(binary))
        return _write(files, target, what, place, binary, facts)

    return found_or_made(binary, lambda: _mapped(binary, facts, shape), make)


def found_or_made(entry: Path, find: Callable[[], Any], make: Callable[[], Any]) -> Any:
    """What `find` finds, else what `make` makes, by one process at a time. Raises UserError for the disk's errors."""
    found = find()
    if found is not None:
        return found
    with on_disk(entry.parent), exclusive(entry.with_suffix(".lock")):
        found = find()
        return make() if found is None else found


@contextmanager
def on_disk(folder: Path) -> Iterator[None]:
    """Turn a folder that can't be written, or a full disk, into a UserError."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{error.filename or folder}: can't keep decoded images: {error.strerror or error}",
            "free some space or choose another place for runs",
        ) from error


def _mapped(binary: Path, facts: Path, shape: tuple[int, ...]) -> Pixels | None:
    """The pixels of a whole entry, or None."""
    try:
        known = json.loads(facts.read_text(encoding="utf-8"))
        if binary.stat().st_size != math.prod(shape) or known["shape"] != list(shape):
            return None
    except (OSError, ValueError, KeyError):
        return None
    return Pixels(map_file(binary, shape), known["sha256"], tuple(known["mean"]), tuple(known["std"]))


def map_file(binary: Path, shape: tuple[int, ...]) -> torch.Tensor:
    """The file in memory, page by page as it is used; what is written into the tensor stays in this process.

    No memory is set aside for that: an ImageNet's cache is larger than most machines' memory, and Linux would refuse.
    """
    with binary.open("rb") as file:
        flags, access = mmap.MAP_PRIVATE | NORESERVE, mmap.PROT_READ | mmap.PROT_WRITE
        mapped = mmap.mmap(file.fileno(), math.prod(shape), flags=flags, prot=access)
    return torch.frombuffer(mapped, dtype=torch.uint8).view(shape)


def check_room(folder: Path, size: int) -> None:
    """Raise UserError where a folder (made if need be) has no room for `size` bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < size:
        raise UserError(
            f"{folder}: no room for decoded images: {size / 2**20:,.0f} MiB needed, {free / 2**20:,.0f} MiB free",
            "free some space, choose another place for runs, or take fewer or smaller images "
            "(data.per_class, data.image_size)",
        )


def _write(files: Files, target: Target, what: str, place: Place, binary: Path, facts: Path) -> Pixels:
    """Decode all files into the cache. Called with the entry's lock held."""

    def work(some: Sequence[File]) -> Chunk:
        return _decode_chunk(files, some, target)

    written = journal.write(binary, files.files, work, lambda done: place.progress(what, done, len(files)))
    if written.bad:
        journal.clear(binary)
        raise files.unreadable(written.bad, len(files))
    made = pixels(map_file(journal.part(binary), (len(files), target.height, target.width, 3)))
    known = {"shape": list(made.values.shape), "sha256": made.sha256, "mean": made.mean, "std": made.std}
    finish(binary, facts, known | {"decoded_from": str(files.root)})
    return made


def finish(binary: Path, facts: Path, known: dict[str, Any]) -> None:
    """Give the written bytes their name, then the facts theirs."""
    journal.part(binary).replace(binary)
    write_facts(facts, known)
    journal.clear(binary)


def write_facts(facts: Path, known: dict[str, Any]) -> None:
    """Write the description of an entry, whole or not at all."""
    temporary = facts.with_name(f".{facts.name}.{os.getpid()}")
    temporary.write_text(json.dumps(known, indent=None if "sizes" in known else 1), encoding="utf-8")
    temporary.replace(facts)


def _decode_chunk(files: Files, some: Sequence[File], target: Target) -> Chunk:
    """Pixels of a few files, zeros for those that can't be read, and why they can't."""
    out = np.zeros((len(some), target.height, target.width, 3), np.uint8)
    bad: list[Bad] = []
    for i, file in enumerate(some):
        try:
            out[i] = decode(files.open(file), target)
        except OtherSizeError as error:
            raise UserError(
                f"{files.root}: images differ in size: {target.like} is {target.width} x {target.height}, "
                f"{file.path} is {error}",
                "data.image_size (--image-size) resizes and cuts them all to one size",
            ) from error
        except Exception as error:  # what a decoder raises on broken input is not a closed list
            bad.append((file.path, reason(error)))
    return Chunk(list(out), [], bad)
