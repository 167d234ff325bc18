"""Find the image files that cannot be read, to leave them out (`data.bad=skip`)."""

import io
import json
from collections.abc import Sequence
from contextlib import suppress

from attncli.data.images.decode import decode_whole
from attncli.data.images.files import (
    ImageFile,
    ImageFileList,
    UnreadableFile,
    describe_failure,
    map_in_order,
    stamp_files,
)
from attncli.data.images.pixel_rules import DeepGreyError
from attncli.data.images.versions import DECODING_VERSION
from attncli.data.paths import DataPaths
from attncli.system.files import write_atomically

SUFFIX = ".bad"  # of the list in the folder of decoded images


def find_unreadable_files(files: ImageFileList, activity: str, paths: DataPaths) -> list[UnreadableFile]:
    """Return the files that cannot be decoded, with the reasons; they are decoded once and then remembered.

    Args:
        files: the image files.
        activity: name of the work in progress reports.
        paths: folder of the list, and progress.
    """
    key = files.make_key(DECODING_VERSION, "bad", files.rules.max_pixels, stamp_files(files.files))
    path = paths.cache / f"{key}{SUFFIX}"
    with suppress(OSError, ValueError, TypeError):
        return [(name, reason) for name, reason in json.loads(path.read_text(encoding="utf-8"))]
    unreadable: list[UnreadableFile] = []
    completed = 0
    for chunk_count, chunk_unreadable in map_in_order(
        lambda chunk_files: _decode_some(files, chunk_files), files.files
    ):
        unreadable += chunk_unreadable
        completed += chunk_count
        paths.progress(activity, completed, len(files))
    with suppress(OSError):
        paths.cache.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(unreadable))
    return unreadable


def _decode_some(files: ImageFileList, chunk_files: Sequence[ImageFile]) -> tuple[int, list[UnreadableFile]]:
    unreadable = []
    for file in chunk_files:
        try:
            decode_whole(io.BytesIO(files.read_content(file)), None, files.rules)
        except DeepGreyError:  # readable: only its range is not known yet
            pass
        except Exception as error:  # what a decoder raises on broken input is not a closed list
            unreadable.append((file.path, describe_failure(error)))
    return len(chunk_files), unreadable
