"""The digests of datasets that were read before: files that did not change since need not be read again. No torch.

Sizes, times, numbers (inodes) and names of all files make up a fingerprint. The same fingerprint means the same
digest; another one means only that the images have to be read to know.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from attncli.data.images.versions import DECODING_VERSION
from attncli.data.paths import find_default_root, locate_digits_file
from attncli.data.readers.split_names import is_system_name
from attncli.dataset_catalog import find_properties, has_origin
from attncli.recipe import Data, Recipe
from attncli.system.files import expand_user_path, write_atomically

SUFFIX = ".digest"  # of its file in the folder of decoded images
CUT_VERSION = 2  # of the embedded digits; 1 was a random fifth
SPLIT_FOLDERS = ("train", "val", "test")


def has_changeable_files(data: Data) -> bool:
    """Return whether the images of a recipe may be others tomorrow: all but those that are published and unchanged.

    The embedded digits count, as runs of earlier versions had another cut of them.
    """
    names = (data.name, data.of)
    return (
        any(has_origin(name, "user", "hub", "request") for name in names)
        or _uses_digits(data)
        or (data.root is not None and any(has_origin(name, "download") for name in names))
    )


def fingerprint_files(data: Data) -> str | None:
    """Return a digest of names, sizes and times of the files of a dataset, or None if it cannot be computed."""
    paths = _list_data_paths(data)
    digest = hashlib.sha256(f"{DECODING_VERSION}/{CUT_VERSION if _uses_digits(data) else 0}".encode())
    count = 0
    try:
        for path in paths:
            for name, status in _walk_files(path):
                digest.update(os.fsencode(name))
                digest.update(
                    f"\t{status.st_size}\t{status.st_mtime_ns}\t{status.st_ctime_ns}\t{status.st_ino}\n".encode()
                )
                count += 1
    except OSError:
        return None
    return digest.hexdigest() if count else None


def save_digest(cache: Path, data: Data, fingerprint: str, digest: str) -> None:
    """Save the digest of a dataset whose files had this fingerprint. If the folder cannot be written, do nothing."""
    with suppress(OSError):
        cache.mkdir(parents=True, exist_ok=True)
        content = json.dumps({"fingerprint": fingerprint, "digest": digest}) + "\n"
        write_atomically(_locate_digest_file(cache, data), content)


def load_digest(cache: Path, data: Data, fingerprint: str) -> str | None:
    """Return the digest that a dataset had when its files had this fingerprint, or None if `cache` does not know it."""
    try:
        values = json.loads(_locate_digest_file(cache, data).read_text(encoding="utf-8"))
        return str(values["digest"]) if values["fingerprint"] == fingerprint else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _locate_digest_file(cache: Path, data: Data) -> Path:
    identity = Recipe(data=data.model_copy(update={"content": None})).build_identity()["data"]
    key_text = json.dumps(identity | {"root": data.root}, sort_keys=True)
    return cache / (hashlib.sha256(key_text.encode()).hexdigest()[:16] + SUFFIX)


def _uses_digits(data: Data) -> bool:
    return any(has_origin(name, "embedded") for name in (data.name, data.of)) or (
        data.of is None and has_origin(data.name, "generated")
    )


def _list_data_paths(data: Data) -> list[Path]:
    """Return the files and folders that hold the images; none if they may be anywhere, as with tables of paths."""
    names = [name for name in (data.name, data.of) if name is not None]
    if "parquet" in names or "table" in names or any(has_origin(name, "hub") for name in names):
        return []
    if _uses_digits(data):
        file = locate_digits_file()
        return [] if file is None else [file]
    root = expand_user_path(data.root, "data.root") if data.root else find_default_root()
    if any(has_origin(name, "user") for name in names):
        return [root]
    if data.root and any(has_origin(name, "request") for name in names):
        return [root, *_list_label_files(root)]
    holds = [folder for name in names if (properties := find_properties(name)) for folder in properties.holds]
    candidates = [part.strip().partition("/")[0] for folder in holds for part in folder.split("|")]
    return [root / name for name in dict.fromkeys((*candidates, *SPLIT_FOLDERS)) if (root / name).exists()]


def _list_label_files(root: Path) -> list[Path]:
    """Return the lists of labels that may lie above the folder of a user's copy (see `readers.imagenet_labels`)."""
    folders = (root.resolve().parent, root.resolve().parent.parent.parent)
    return [
        path
        for folder in dict.fromkeys(folders)
        for path in sorted(folder.glob("*"))
        if path.suffix in (".txt", ".csv", ".mat")
    ]


def _walk_files(path: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Yield (relative name, status) of a file, or of every file below a folder, in the order of their names."""
    if not path.is_dir():
        yield path.name, path.stat()
        return
    seen_folders = set()
    pending = [(str(path), path.name)]
    while pending:
        folder, relative_folder = pending.pop()
        status = Path(folder).stat()
        if (status.st_dev, status.st_ino) in seen_folders:  # a link that leads back
            continue
        seen_folders.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as scanned:
            entries = sorted((e for e in scanned if not is_system_name(e.name)), key=lambda e: e.name, reverse=True)
        for entry in entries:
            name = f"{relative_folder}/{entry.name}"
            if entry.is_dir():
                pending.append((entry.path, name))
            else:
                yield name, entry.stat(follow_symlinks=entry.is_file())
