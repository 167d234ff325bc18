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

from attncli.data.decode import Pixels8
from attncli.data.files import CHUNK, Bad, File, in_order

EVERY = 64 << 20  # bytes


class Chunk(NamedTuple):
    """Decoded images, what is to be noted about them (JSON), and the files that could not be read."""

    images: Sequence[Pixels8]
    facts: list[Any]
    bad: list[Bad]


@dataclass
class Written:
    """What has been written: images, bytes, and the facts and bad files of all chunks."""

    images: int = 0
    bytes: int = 0
    facts: list[Any] = field(default_factory=list)
    bad: list[Bad] = field(default_factory=list)

    def take(self, line: dict[str, Any]) -> None:
        """Count a line of the journal in."""
        self.images, self.bytes = line["images"], line["bytes"]
        self.facts += line["facts"]
        self.bad += [(path, why) for path, why in line["bad"]]


def part(binary: Path) -> Path:
    """Where the bytes are while they are written."""
    return binary.with_name(f".{binary.name}.part")


def size(binary: Path) -> int:
    """Bytes that an interrupted writing left and that are gone on with."""
    return part(binary).stat().st_size if part(binary).exists() else 0


def write(
    binary: Path,
    files: Sequence[File],
    work: Callable[[Sequence[File]], Chunk],
    tell: Callable[[int], None],
    chunk: int = CHUNK,
) -> Written:
    """Write the images of all files to `part(binary)`, going on where an earlier writing was stopped.

    `tell(images)` hears of the progress. An interruption leaves what is safe, any other error nothing.
    """
    log = part(binary.with_suffix(".json"))
    done = _earlier(part(binary), log)
    if not done.images:
        clear(binary)
    try:
        _go_on(binary, log, in_order(work, files[done.images :], chunk), tell, done)
    except KeyboardInterrupt:
        if not log.exists():
            clear(binary)
        raise
    except BaseException:
        clear(binary)
        raise
    return done


def clear(binary: Path) -> None:
    """Remove what a writing left, also one of an earlier version."""
    for left in list(binary.parent.glob(f".{binary.stem}.*")):
        left.unlink(missing_ok=True)


def _go_on(binary: Path, log: Path, chunks: Iterator[Chunk], tell: Callable[[int], None], done: Written) -> None:
    line = _line(done)
    with part(binary).open("r+b" if done.images else "wb") as out:
        out.truncate(done.bytes)
        out.seek(done.bytes)
        for chunk in chunks:
            for image in chunk.images:
                out.write(image.tobytes())
            line["images"] += len(chunk.images)
            line["bytes"] = out.tell()
            line["facts"] += chunk.facts
            line["bad"] += chunk.bad
            if line["bytes"] - done.bytes >= EVERY:
                _note(out.fileno(), out.flush, log, line)
                done.take(line)
                line = _line(done)
            tell(line["images"])
        out.flush()
        os.fsync(out.fileno())
    done.take(line)


def _line(done: Written) -> dict[str, Any]:
    return {"images": done.images, "bytes": done.bytes, "facts": [], "bad": []}


def _note(number: int, flush: Callable[[], None], log: Path, line: dict[str, Any]) -> None:
    flush()
    os.fsync(number)
    with log.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def _earlier(bytes_: Path, log: Path) -> Written:
    """What an earlier writing left: the lines of the journal that the bytes reach."""
    done = Written()
    try:
        size = bytes_.stat().st_size
        for text in log.read_text(encoding="utf-8").splitlines():
            line = json.loads(text)
            if line["bytes"] > size:
                break
            done.take(line)
    except (OSError, ValueError, KeyError, TypeError):  # none, or a line cut short
        pass
    return done
