"""Writing decoded images so that an interrupted writing goes on where it was.

The bytes go to `.NAME.bin.part`; every 64 MB they are made safe and `.NAME.json.part` gets a line that says how far
they go. Whoever comes next with the same name continues after the last such line.
"""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from attncli.data.images.decode import ImagePixels
from attncli.data.images.files import CHUNK_SIZE, ImageFile, UnreadableFile, map_in_order

EVERY = 64 << 20  # bytes


class DecodedChunk(NamedTuple):
    """Decoded images, what is to be noted about them (JSON), and the files that could not be read."""

    images: Sequence[ImagePixels]
    metadata: list[Any]
    unreadable: list[UnreadableFile]


@dataclass
class WriteState:
    """What has been written: images, bytes, and the facts and bad files of all chunks."""

    images: int = 0
    bytes: int = 0
    metadata: list[Any] = field(default_factory=list)
    unreadable: list[UnreadableFile] = field(default_factory=list)

    def add_line(self, line: dict[str, Any]) -> None:
        """Count a line of the journal in."""
        self.images, self.bytes = line["images"], line["bytes"]
        self.metadata += line["facts"]
        self.unreadable += [(path, reason) for path, reason in line["bad"]]


def partial_path(binary: Path) -> Path:
    """Where the bytes are while they are written."""
    return binary.with_name(f".{binary.name}.part")


def count_partial_bytes(binary: Path) -> int:
    """Bytes that an interrupted writing left and that are gone on with."""
    return partial_path(binary).stat().st_size if partial_path(binary).exists() else 0


def write_images(
    binary: Path,
    files: Sequence[ImageFile],
    decode_chunk: Callable[[Sequence[ImageFile]], DecodedChunk],
    report: Callable[[int], None],
    chunk_size: int = CHUNK_SIZE,
) -> WriteState:
    """Write the images of all files to `partial_path(binary)`, going on where an earlier writing was stopped.

    `report(images)` hears of the progress. An interruption leaves what is safe, any other error nothing.
    """
    journal_path = partial_path(binary.with_suffix(".json"))
    state = _load_journal(partial_path(binary), journal_path)
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
    """Remove what a writing left, also one of an earlier version."""
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
    return {"images": state.images, "bytes": state.bytes, "facts": [], "bad": []}


def _flush_journal(file_descriptor: int, flush: Callable[[], None], journal_path: Path, line: dict[str, Any]) -> None:
    flush()
    os.fsync(file_descriptor)
    with journal_path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def _load_journal(partial_file: Path, journal_path: Path) -> WriteState:
    """What an earlier writing left: the lines of the journal that the bytes reach."""
    state = WriteState()
    try:
        byte_count = partial_file.stat().st_size
        for text in journal_path.read_text(encoding="utf-8").splitlines():
            line = json.loads(text)
            if line["bytes"] > byte_count:
                break
            state.add_line(line)
    except (OSError, ValueError, KeyError, TypeError):  # none, or a line cut short
        pass
    return state
