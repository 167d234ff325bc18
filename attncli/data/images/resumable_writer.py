"""Write decoded images so that an interrupted write resumes where it stopped.

The bytes go to `.NAME.bin.part`. Every 64 MB they are flushed to disk, and `.NAME.json.part` gets a line with the
number of bytes. The next process that writes the same name continues after the last such line.
"""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from attncli.data.images.arrays import ImagePixels
from attncli.data.images.files import CHUNK_SIZE, ImageFile, UnreadableFile, map_in_order, stamp_files

EVERY = 64 << 20  # bytes


class DecodedChunk(NamedTuple):
    """Decoded images, metadata about them (JSON), and the unreadable files."""

    images: Sequence[ImagePixels]
    metadata: list[Any]
    unreadable: list[UnreadableFile]


@dataclass
class WriteState:
    """What has been written so far: images, bytes, and the metadata and unreadable files of all chunks.

    `stamp` is that of all files that are to be written: others are written anew.
    """

    stamp: str
    images: int = 0
    bytes: int = 0
    metadata: list[Any] = field(default_factory=list)
    unreadable: list[UnreadableFile] = field(default_factory=list)

    def add_line(self, line: dict[str, Any]) -> None:
        """Add a line of the journal."""
        self.images, self.bytes = line["images"], line["bytes"]
        self.metadata += line["facts"]
        self.unreadable += [(path, reason) for path, reason in line["bad"]]


def partial_path(binary: Path) -> Path:
    """Return the path of the bytes while they are written."""
    return binary.with_name(f".{binary.name}.part")


def count_partial_bytes(binary: Path) -> int:
    """Return the number of bytes that an interrupted write left, to be resumed."""
    return partial_path(binary).stat().st_size if partial_path(binary).exists() else 0


def write_images(
    binary: Path,
    files: Sequence[ImageFile],
    decode_chunk: Callable[[Sequence[ImageFile]], DecodedChunk],
    report: Callable[[int], None],
    chunk_size: int = CHUNK_SIZE,
) -> WriteState:
    """Write the images of all files to `partial_path(binary)`; resume an earlier write that was interrupted.

    After an interruption the flushed part stays, after any other error nothing.

    Args:
        binary: the final path of the bytes.
        files: the image files in order.
        decode_chunk: decodes a chunk of the files.
        report: called with the number of images written.
        chunk_size: files per chunk.
    """
    journal_path = partial_path(binary.with_suffix(".json"))
    state = _load_journal(partial_path(binary), journal_path, stamp_files(files))
    if not state.images:
        remove_partial_files(binary)
    try:
        _resume_writing(
            binary, journal_path, map_in_order(decode_chunk, files[state.images :], chunk_size), report, state
        )
    except KeyboardInterrupt:
        if not journal_path.exists():
            remove_partial_files(binary)
        raise
    except BaseException:
        remove_partial_files(binary)
        raise
    return state


def remove_partial_files(binary: Path) -> None:
    """Remove the files that a write left, also those of an earlier version."""
    for leftover in list(binary.parent.glob(f".{binary.stem}.*")):
        leftover.unlink(missing_ok=True)


def _resume_writing(
    binary: Path, journal_path: Path, chunks: Iterator[DecodedChunk], report: Callable[[int], None], state: WriteState
) -> None:
    line = _new_line(state)
    with partial_path(binary).open("r+b" if state.images else "wb") as output:
        output.truncate(state.bytes)
        output.seek(state.bytes)
        for chunk in chunks:
            for image in chunk.images:
                output.write(image.tobytes())
            line["images"] += len(chunk.images)
            line["bytes"] = output.tell()
            line["facts"] += chunk.metadata
            line["bad"] += chunk.unreadable
            if line["bytes"] - state.bytes >= EVERY:
                _flush_journal(output.fileno(), output.flush, journal_path, line)
                state.add_line(line)
                line = _new_line(state)
            report(line["images"])
        output.flush()
        os.fsync(output.fileno())
    state.add_line(line)


def _new_line(state: WriteState) -> dict[str, Any]:
    return {"images": state.images, "bytes": state.bytes, "facts": [], "bad": [], "stamp": state.stamp}


def _flush_journal(file_descriptor: int, flush: Callable[[], None], journal_path: Path, line: dict[str, Any]) -> None:
    flush()
    os.fsync(file_descriptor)
    with journal_path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def _load_journal(partial_file: Path, journal_path: Path, stamp: str) -> WriteState:
    """Return what an earlier write of the same files left: the lines of the journal whose bytes are there."""
    state = WriteState(stamp)
    try:
        byte_count = partial_file.stat().st_size
        for text in journal_path.read_text(encoding="utf-8").splitlines():
            line = json.loads(text)
            if line["bytes"] > byte_count or line["stamp"] != stamp:
                break
            state.add_line(line)
    except (OSError, ValueError, KeyError, TypeError):  # no journal, or an incomplete line
        pass
    return state
