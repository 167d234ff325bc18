"""Whether a cache entry is still of its files' content, although other files may have their names, sizes and times."""

from collections.abc import Sequence
from typing import Any

from attncli.data.images.files import ImageFile, ImageFileList, map_in_order, stamp_files
from attncli.data.images.image_facts import hash_content


def check_entry(files: ImageFileList, description: dict[str, Any]) -> dict[str, Any] | None:
    """Return the description of an entry if it is of the content of these files, else None.

    If the stamps differ, the files are read and compared; the description that is returned then has the new stamp.
    Entries of published images have no digests of their files and are not checked.
    """
    stamp = stamp_files(files.files)
    if "files" not in description or description.get("stamp") == stamp:
        return description
    chunks = map_in_order(lambda chunk_files: _hash_files(files, chunk_files), files.files)
    if b"".join(chunks).hex() != description["files"]["hashes"]:
        return None
    return description | {"stamp": stamp}


def _hash_files(files: ImageFileList, chunk_files: Sequence[ImageFile]) -> bytes:
    hashes = b""
    for file in chunk_files:
        try:
            hashes += hash_content(files.read_content(file))
        except Exception:  # a file that cannot be read is reported when it is decoded
            return b""
    return hashes
