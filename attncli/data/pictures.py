"""Whole images of different sizes, of which random parts are shown: on disk decoded and mapped, or decoded anew.

`<cache>/<key>.bin` holds the pixels of one image after the other, each with its shorter side at most 1.5 times the
training size; `<key>.json` holds their sizes and a SHA-256 of the files. Memory is bounded: pages of the map come and
go as the system sees fit, and while decoding a few chunks are in flight. With `data.decoded=false` nothing but the
sizes is kept, every epoch decodes anew, and the images are the same to the last bit.
"""

import hashlib
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from attncli.data import journal
from attncli.data.cache import LAYOUT, check_room, finish, found_or_made, map_file, write_facts
from attncli.data.decode import Pixels8, decode_whole, shrunk, size_of
from attncli.data.files import Bad, File, Files, in_order, reason
from attncli.data.journal import Chunk
from attncli.data.place import Place
from attncli.errors import RunFailedError

CHUNK = 8  # images a task: a few of them are in memory for each core
KEEP = 1.5  # the shorter side kept, in training sizes; the mean part shown then needs no enlarging


@dataclass(frozen=True)
class Pictures:
    """Images of their own sizes: heights and widths (n,), int64, and `read(i)` -> (h, w, 3), uint8."""

    height: Tensor
    width: Tensor
    read: Callable[[int], Pixels8]
    sha256: str

    def __len__(self) -> int:
        return len(self.height)


def of_tensor(values: Tensor, sha256: str) -> Pictures:
    """Images (n, H, W, 3) in memory."""
    n, height, width, _ = values.shape
    array = values.numpy()
    return Pictures(torch.full((n,), height), torch.full((n,), width), array.__getitem__, sha256)


def read_pictures(files: Files, size: int, what: str, place: Place, *, decoded: bool) -> Pictures:
    """The files as whole images for training at `size` pixels, decoded into the cache unless told otherwise.

    Raises UserError that names files that can't be read, a folder that can't be written, or a full disk.
    """
    side = round(KEEP * size)
    key = files.key(LAYOUT, "whole", side) if decoded else files.key(LAYOUT, "sizes", side)
    binary, facts = place.cache / f"{key}.bin", place.cache / f"{key}.json"

    def make() -> dict[str, Any]:
        place.cache.mkdir(parents=True, exist_ok=True)
        if decoded:
            return _write(files, side, what, place, binary, facts)
        return _look(files, side, what.replace("decoding", "looking at"), place, facts)

    known = found_or_made(binary, lambda: _known(binary, facts, len(files), decoded), make)
    height, width = torch.tensor(known["sizes"], dtype=torch.int64).view(-1, 2).unbind(1)
    read = _mapped(binary, known["sizes"]) if decoded else _decoding(files, side)
    return Pictures(height, width, read, known["sha256"])


def _known(binary: Path, facts: Path, count: int, decoded: bool) -> dict[str, Any] | None:
    """The facts of a whole entry, or None."""
    try:
        known: dict[str, Any] = json.loads(facts.read_text(encoding="utf-8"))
        whole = not decoded or binary.stat().st_size == _bytes(known["sizes"])
        return known if whole and len(known["sizes"]) == count and known["sha256"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _bytes(sizes: Sequence[tuple[int, int]]) -> int:
    return sum(3 * h * w for h, w in sizes)


def _write(files: Files, side: int, what: str, place: Place, binary: Path, facts: Path) -> dict[str, Any]:
    """Decode all files. Called with the entry's lock held."""
    first = files.files[0]
    try:
        guess = 3 * side * max(shrunk(*size_of(files.open(first)), side))
    except Exception:  # no image: named with all others below
        guess = 0
    check_room(place.cache, guess * len(files) - journal.size(binary))
    written = journal.write(
        binary,
        files.files,
        lambda some: _chunk(files, some, side),
        lambda done: place.progress(what, done, len(files)),
        CHUNK,
    )
    if written.bad:
        journal.clear(binary)
        raise files.unreadable(written.bad, len(files))
    known = _facts(written.facts, side)
    finish(binary, facts, known)
    return known


def _chunk(files: Files, some: Sequence[File], side: int) -> Chunk:
    """A few files decoded, one black pixel for those that can't be, with sizes and the SHA-256 of their content."""
    images, bad, digest = [], [], hashlib.sha256()
    for file in some:
        try:
            content = files.content(file)
            digest.update(hashlib.sha256(content).digest())
            images.append(decode_whole(io.BytesIO(content), side))
        except Exception as error:  # what a decoder raises on broken input is not a closed list
            bad.append((file.path, reason(error)))
            images.append(np.zeros((1, 1, 3), np.uint8))
    return Chunk(images, [[[image.shape[:2] for image in images], digest.hexdigest()]], bad)


def _look(files: Files, side: int, what: str, place: Place, facts: Path) -> dict[str, Any]:
    """Read sizes and content of all files without decoding them, and keep that. Called with the entry's lock held."""
    found, bad, done = [], [], 0
    for sizes, digest, failed in in_order(lambda some: _sizes(files, some, side), files.files, CHUNK):
        found.append([sizes, digest])
        bad += failed
        done += len(sizes)
        place.progress(what, done, len(files))
    if bad:
        raise files.unreadable(bad, len(files))
    known = _facts(found, side)
    write_facts(facts, known)
    return known


def _sizes(files: Files, some: Sequence[File], side: int) -> tuple[list[tuple[int, int]], str, list[Bad]]:
    sizes, bad, digest = [], [], hashlib.sha256()
    for file in some:
        try:
            content = files.content(file)
            digest.update(hashlib.sha256(content).digest())
            sizes.append(shrunk(*size_of(io.BytesIO(content)), side))
        except Exception as error:  # as above
            bad.append((file.path, reason(error)))
            sizes.append((1, 1))
    return sizes, digest.hexdigest(), bad


def _facts(chunks: Sequence[Any], side: int) -> dict[str, Any]:
    digest = hashlib.sha256(f"{LAYOUT}/{side}/{'/'.join(d for _, d in chunks)}".encode())
    return {"sizes": [list(size) for sizes, _ in chunks for size in sizes], "sha256": digest.hexdigest()}


def _mapped(binary: Path, sizes: Sequence[tuple[int, int]]) -> Callable[[int], Pixels8]:
    """Images by their number, out of the mapped file."""
    starts = [0, *accumulate(3 * h * w for h, w in sizes)]
    flat = map_file(binary, (starts[-1],)).numpy()
    return lambda i: flat[starts[i] : starts[i + 1]].reshape(*sizes[i], 3)


def _decoding(files: Files, side: int) -> Callable[[int], Pixels8]:
    """Images by their number, decoded when asked for."""

    def read(i: int) -> Pixels8:
        file = files.files[i]
        try:
            return decode_whole(files.open(file), side)
        except Exception as error:
            raise RunFailedError(f"{files.root / file.path}: {reason(error)}", "mend or remove it") from error

    return read
