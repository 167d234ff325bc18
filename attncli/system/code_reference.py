"""A user's own code by its path: `mine.py`, or `mine.py:NAME` for a class or function in it."""

import re
from pathlib import Path

_REFERENCE = re.compile(r"(?P<path>.*\.py)(?::(?P<name>[^\W\d]\w*))?", re.DOTALL)


def is_code_reference(text: str) -> bool:
    """Return whether a text is the path of a Python file, with or without the name of something in it."""
    return _REFERENCE.fullmatch(text) is not None


def split_code_reference(text: str) -> tuple[str, str | None]:
    """Return (path of the file, name in it or None). A text that is no code reference is returned as the path."""
    match = _REFERENCE.fullmatch(text)
    return (match["path"], match["name"]) if match else (text, None)


def label_code_reference(text: str) -> str:
    """Return a short name for tables and runs: `mine` for dir/mine.py, `mine.CBAM` for dir/mine.py:CBAM."""
    path, name = split_code_reference(text)
    return f"{Path(path).stem}.{name}" if name else Path(path).stem
