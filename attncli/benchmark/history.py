"""Store benches in a file of JSON lines, and compare the figures of two benches."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attncli.errors import UserError

Spread = Sequence[float]  # lower quartile, median, upper quartile


def append_entry(file: Path, entry: Mapping[str, Any]) -> None:
    """Add a bench to the file. Raises UserError if it cannot be written."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as out:
            out.write(json.dumps(entry) + "\n")
    except OSError as error:
        raise UserError(f"{file}: {error.strerror or error}", "choose another file with --history") from error


def read_last_entry(file: Path, kind: str) -> dict[str, Any]:
    """Return the latest bench of this kind. Raises UserError if there is none or the file cannot be read."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
        entries = [entry for text in lines if text.strip() and (entry := json.loads(text)).get("kind") == kind]
    except (OSError, ValueError, AttributeError) as error:
        reason = getattr(error, "strerror", None) or "not a file of JSON lines"
        raise UserError(f"{file}: {reason}", "give the history file of an earlier bench") from error
    if not entries:
        raise UserError(f"{file}: no bench of kind '{kind}' in it", "give the history file of an earlier bench")
    newest: dict[str, Any] = entries[-1]
    return newest


def compare_spreads(new: Spread, old: Spread) -> tuple[float, str]:
    """Return (new median / old median, verdict): "faster" or "slower" only if the quartiles do not overlap."""
    verdict = "slower" if new[2] < old[0] else "faster" if new[0] > old[2] else "same"
    return new[1] / old[1], verdict


def find_earlier_row(
    rows: Iterable[Mapping[str, Any]], like: Mapping[str, Any], by: Sequence[str]
) -> Mapping[str, Any] | None:
    """Return the row that agrees with `like` in all of the keys `by`, or None."""
    return next((row for row in rows if all(row.get(key) == like[key] for key in by)), None)
