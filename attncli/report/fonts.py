"""Fonts for names of any script: what DejaVu Sans, which comes with matplotlib, lacks is taken from other fonts."""

import sys
from collections.abc import Iterable
from functools import cache

from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.text import Text

MAIN_FONT = "DejaVu Sans"
PREFERRED = (
    "Noto Sans",
    "Source Han Sans",
    "WenQuanYi",
    "Droid Sans Fallback",
    "Arial Unicode MS",
)  # how the names of these families begin
_reported: set[str] = set()


def apply_fallback_fonts(figure: Figure) -> None:
    """Give every text of a figure fonts that have its characters; name once, on stderr, characters that no font has."""
    missing: set[str] = set()
    for text in figure.findobj(Text):
        characters = find_missing_characters(text.get_text())
        if characters:
            families, uncovered = choose_families(characters)
            text.set_fontfamily([MAIN_FONT, *families])
            missing |= uncovered
    _report_missing(missing)


def find_fallback_file(text: str) -> str | None:
    """Return the file of a font that has the characters of a text that the main font lacks; None if it lacks none.

    If no font has them all, it is the one with the most common of them; those that no font has are named on stderr.
    """
    characters = find_missing_characters(text)
    if not characters:
        return None
    families, uncovered = choose_families(characters)
    _report_missing(set(uncovered))
    return next((path for name, path in list_fonts() if families and name == families[0]), None)


def _report_missing(missing: set[str]) -> None:
    if unreported := missing - _reported:
        _reported.update(unreported)
        print(describe_missing(unreported), file=sys.stderr)


def describe_missing(characters: Iterable[str]) -> str:
    """Return the line that says which characters the figures lack, and what helps."""
    names = " ".join(sorted(characters)[:12])
    return f"figures show boxes for {names}: no font of this machine has them; a font such as Noto Sans CJK helps"


def find_missing_characters(text: str) -> frozenset[str]:
    """Return the printable characters that the main font lacks."""
    if text.isascii():
        return frozenset()
    font = font_manager.get_font(font_manager.findfont(MAIN_FONT))
    return frozenset(char for char in text if char.isprintable() and not font.get_char_index(ord(char)))


@cache
def choose_families(characters: frozenset[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Return the families of installed fonts that together have the characters, and the characters that none has."""
    families, uncovered = [], set(characters)
    for name, path in list_fonts():
        if not uncovered:
            break
        try:
            font = font_manager.get_font(path)
        except (OSError, RuntimeError):  # a broken font file
            continue
        if covered := {char for char in uncovered if font.get_char_index(ord(char))}:
            families.append(name)
            uncovered -= covered
    return tuple(families), frozenset(uncovered)


def list_fonts() -> list[tuple[str, str]]:
    """Return (family, file) of the upright fonts of normal weight on this machine, those of many scripts first."""
    entries = [e for e in font_manager.fontManager.ttflist if e.style == "normal" and e.weight in (400, "normal")]
    entries.sort(key=lambda entry: (not entry.name.startswith(PREFERRED), entry.name))
    return [(entry.name, entry.fname) for entry in entries if "Last Resort" not in entry.name]
