"""Numbers with their nouns, for people."""


def format_quantity(count: int, noun: str) -> str:
    """Return a count with its noun, in the plural unless it is one: "1 file", "2,000 files", "3 classes"."""
    return f"{count:,} {noun if count == 1 else _make_plural(noun)}"


def _make_plural(noun: str) -> str:
    """Return the plural of a regular English noun."""
    if noun.endswith(("s", "sh", "tch", "nch", "x")):
        return f"{noun}es"
    is_consonant_y = noun.endswith("y") and noun[-2:-1] not in "aeiou"
    return f"{noun[:-1]}ies" if is_consonant_y else f"{noun}s"
