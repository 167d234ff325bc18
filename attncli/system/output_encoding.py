"""Text for streams that cannot encode all of it, such as a pipe on Windows in its old code page."""

import io
import sys


def tolerate_unencodable_text(encoding: str | None = None) -> None:
    """Let stdout and stderr of this process print `?` for what they cannot encode; they would raise an error.

    Names of classes, files and mechanisms are the user's, and no run may fail because one cannot be printed.

    Args:
        encoding: of both streams from now on, for a process whose output is read by this project; None keeps it.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=encoding, errors="replace" if stream.errors == "strict" else stream.errors)
