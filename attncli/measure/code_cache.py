"""What is computed from the code of attncli alone, kept in files until that code changes. No torch.

The file `<folder>/<name>.json` holds values and a stamp of the code: names, sizes and times of its files, and the
versions of torch and torchvision. Another stamp, or a damaged file, means that nothing is known. Several processes may
write at the same time: one of them wins, and what the others knew is computed again.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from attncli.system.files import write_atomically

PACKAGE = Path(__file__).parents[1]


@cache
def stamp_code(parts: tuple[str, ...]) -> str:
    """Return a stamp of these files and folders of the package, as they are when a process first asks."""
    digest = hashlib.sha256(f"{version('torch')} {version('torchvision')}\n".encode())
    for file in sorted(file for part in parts for file in _list_sources(PACKAGE / part)):
        status = file.stat()
        digest.update(f"{file}\t{status.st_size}\t{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _list_sources(path: Path) -> Iterable[Path]:
    return [path] if path.is_file() else path.rglob("*.py")


def read_values(folder: Path, name: str, stamp: str) -> dict[str, Any]:
    """Return the values that are kept for this stamp; none if there is no such file."""
    with suppress(OSError, ValueError):
        kept = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        if isinstance(kept, dict) and kept.get("stamp") == stamp and isinstance(kept.get("values"), dict):
            values: dict[str, Any] = kept["values"]
            return values
    return {}


def write_values(folder: Path, name: str, stamp: str, values: Mapping[str, Any]) -> None:
    """Keep values for this stamp, in place of what was kept. If the folder cannot be written, do nothing."""
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / f"{name}.json", json.dumps({"stamp": stamp, "values": values}) + "\n")
