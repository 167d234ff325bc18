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


def split_combination(text: str) -> tuple[str, ...]:
    """Return the mechanisms that a text names, joined by `+`: (`se`, `mine.py:CBAM`) for se+mine.py:CBAM."""
    if "+" not in text or (is_code_reference(text) and Path(split_code_reference(text)[0]).expanduser().is_file()):
        return (text,)
    return tuple(part.strip() for part in text.split("+"))


def label_mechanism_name(text: str) -> str:
    """Return the short name of one mechanism or of several that are joined by `+`."""
    parts = split_combination(text)
    return "+".join(label_code_reference(part) if is_code_reference(part) else part for part in parts)


def label_code_reference(text: str) -> str:
    """Return a short name for tables and runs: `mine` for dir/mine.py, `mine.CBAM` for dir/mine.py:CBAM."""
    path, name = split_code_reference(text)
    return f"{Path(path).stem}.{name}" if name else Path(path).stem
