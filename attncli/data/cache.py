"""Decoded images on disk: decoded once by a pool of threads, then mapped into memory, near instantly.

`<cache>/<key>.bin` holds the raw uint8 pixels, `<key>.json` their shape, SHA-256, mean and deviation. The key is made
of each file's name, size and time of last change, of the folder and of the size wanted, so a changed file means
another key. Both are written under other names and renamed, .json last: what is there is whole. Two processes that
want the same images take turns, and the second finds the work done.
"""

import hashlib
import json
import math
import mmap
import os
import shutil
import sys
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from attncli.data.dataset import Pixels, pixels
from attncli.data.decode import OtherSizeError, Pixels8, Target, decode
from attncli.data.lock import exclusive
from attncli.data.place import Place
from attncli.errors import UserError

CHUNK = 64  # images a task
SHOWN = 5  # bad files named in an error
NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)  # in Python from 3.13 on
LAYOUT = 1  # to be raised whenever the same files would be decoded to other pixels


class File(NamedTuple):
    """An image file: its path within the root, bytes, and time of last change in nanoseconds."""

    path: str
    size: int
    changed: int


Bad = tuple[str, str]  # (file, reason)


def read_cached(root: Path, files: list[File], target: Target, what: str, place: Place) -> Pixels:
    """The pixels (n, H, W, 3) of files below `root`, in their order, decoded if they are not in the cache.

    Raises UserError that names files that can't be read, a folder that can't be written, or a full disk.
    """
    key = _key(root, files, target)
    binary, facts = place.cache / f"{key}.bin", place.cache / f"{key}.json"
    shape = (len(files), target.height, target.width, 3)
    found = _mapped(binary, facts, shape)
    if found is not None:
        return found
    try:
        with exclusive(place.cache / f"{key}.lock"):
            found = _mapped(binary, facts, shape)
            if found is None:
                _check_room(place.cache, math.prod(shape))
                found = _write(root, files, target, what, place, binary, facts)
            return found
    except OSError as error:
        where = error.filename or place.cache
        raise UserError(
            f"{where}: can't keep decoded images: {error.strerror or error}",
            "free some space or choose another place for runs",
        ) from error


def _key(root: Path, files: list[File], target: Target) -> str:
    digest = hashlib.sha256(repr((LAYOUT, str(root.resolve()), target)).encode())
    digest.update("\n".join(f"{f.path}\t{f.size}\t{f.changed}" for f in files).encode())
    return digest.hexdigest()[:16]


def _mapped(binary: Path, facts: Path, shape: tuple[int, ...]) -> Pixels | None:
    """The pixels of a whole entry, or None."""
    try:
        known = json.loads(facts.read_text(encoding="utf-8"))
        if binary.stat().st_size != math.prod(shape) or known["shape"] != list(shape):
            return None
    except (OSError, ValueError, KeyError):
        return None
    return Pixels(_map(binary, shape), known["sha256"], tuple(known["mean"]), tuple(known["std"]))


def _map(binary: Path, shape: tuple[int, ...]) -> torch.Tensor:
    """The file in memory, page by page as it is used; what is written into the tensor stays in this process.

    No memory is set aside for that: an ImageNet's cache is larger than most machines' memory, and Linux would refuse.
    """
    with binary.open("rb") as file:
        flags, access = mmap.MAP_PRIVATE | NORESERVE, mmap.PROT_READ | mmap.PROT_WRITE
        mapped = mmap.mmap(file.fileno(), math.prod(shape), flags=flags, prot=access)
    return torch.frombuffer(mapped, dtype=torch.uint8).view(shape)


def _check_room(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < size:
        raise UserError(
            f"{folder}: no room for decoded images: {size / 2**20:,.0f} MiB needed, {free / 2**20:,.0f} MiB free",
            "free some space, choose another place for runs, or take fewer or smaller images "
            "(data.per_class, data.image_size)",
        )


def _write(root: Path, files: list[File], target: Target, what: str, place: Place, binary: Path, facts: Path) -> Pixels:
    """Decode all files into the cache. Called with the entry's lock held."""
    for left in place.cache.glob(f".{binary.stem}.*"):  # by a process that was killed
        left.unlink(missing_ok=True)
    temporary = binary.with_name(f".{binary.name}.{os.getpid()}")
    try:
        bad: list[Bad] = []
        with temporary.open("wb") as out:
            done = 0
            for images, failed in _decode_all(root, files, target):
                out.write(images.tobytes())
                bad += failed
                done += len(images)
                place.progress(what, done, len(files))
            out.flush()
            os.fsync(out.fileno())
        if bad:
            raise _unreadable(root, bad, len(files))
        made = pixels(_map(temporary, (len(files), target.height, target.width, 3)))
        temporary.replace(binary)
        _write_facts(facts, made, root)
        return made
    finally:
        temporary.unlink(missing_ok=True)


def _write_facts(facts: Path, made: Pixels, root: Path) -> None:
    known = {
        "shape": list(made.values.shape),
        "sha256": made.sha256,
        "mean": made.mean,
        "std": made.std,
        "decoded_from": str(root),
    }
    temporary = facts.with_name(f".{facts.name}.{os.getpid()}")
    temporary.write_text(json.dumps(known, indent=1), encoding="utf-8")
    temporary.replace(facts)


def _decode_all(root: Path, files: list[File], target: Target) -> Iterator[tuple[Pixels8, list[Bad]]]:
    """Decoded chunks in order, with a few chunks in flight, however many there are."""
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    waiting: deque[Future[tuple[Pixels8, list[Bad]]]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    try:
        for start in range(0, len(files), CHUNK):
            waiting.append(pool.submit(_decode_chunk, root, files[start : start + CHUNK], target))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _decode_chunk(root: Path, files: list[File], target: Target) -> tuple[Pixels8, list[Bad]]:
    """Pixels of a few files, zeros for those that can't be read, and why they can't."""
    out = np.zeros((len(files), target.height, target.width, 3), np.uint8)
    bad: list[Bad] = []
    for i, file in enumerate(files):
        try:
            out[i] = decode(root / file.path, target)
        except OtherSizeError as error:
            raise UserError(
                f"{root}: images differ in size: {target.like} is {target.width} x {target.height}, "
                f"{file.path} is {error}",
                "data.image_size (--image-size) resizes and cuts them all to one size",
            ) from error
        except Exception as error:  # what a decoder raises on broken input is not a closed list
            bad.append((file.path, _reason(error)))
    return out, bad


def _reason(error: Exception) -> str:
    first = (str(error).splitlines() or [""])[0]
    return "not an image" if first.startswith("cannot identify image file") else first or type(error).__name__


def _unreadable(root: Path, bad: list[Bad], total: int) -> UserError:
    """One error that names the first few of all bad files."""
    named = "; ".join(f"{path} ({reason})" for path, reason in bad[:SHOWN])
    more = f"; and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
    problem = f"{root}: {len(bad)} of {total} files can't be used as images: {named}{more}"
    return UserError(problem, "mend or remove them")
