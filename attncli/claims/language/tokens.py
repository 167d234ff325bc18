"""From text to tokens, each with its position in the text."""

import re
from dataclasses import dataclass


class LanguageError(ValueError):
    """An expression that cannot be read or means nothing; `at` is the index of the character at fault."""

    def __init__(self, at: int, problem: str, hint: str = "") -> None:
        super().__init__(problem)
        self.at = at
        self.problem = problem
        self.hint = hint


@dataclass(frozen=True)
class Token:
    """A word, number, text in double quotes, or sign; the last one of a text has the kind `end`."""

    kind: str
    text: str
    at: int

    def quote_token(self) -> str:
        """Return the token as an error message names it."""
        return "the end" if self.kind == "end" else f"'{self.text}'"


NAME = r"[A-Za-z_][\w.]*(?:-[\w.]+)*"
_TOKEN = re.compile(
    rf"""
      (?P<space>\s+)
    | (?P<number>\d[\d_]*(?:\.\d+)?(?:[eE][-+]?\d+)?(?:[kMG]\b|\ ?%)?)
    | (?P<name>{NAME})
    | (?P<text>"[^"]*")
    | (?P<sign><=|>=|==|!=|\+-|[-<>~+*/()\[\],=@])
    """,
    re.VERBOSE | re.ASCII,
)


def split_tokens(text: str) -> list[Token]:
    """Return the tokens of an expression and its end. Raises LanguageError for a character that begins none."""
    tokens, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            raise LanguageError(at, f"{text[at]!r} has no meaning here", _suggest_sign(text[at]))
        if match.lastgroup == "number" and re.match(r"\w", text[match.end() :]):
            raise LanguageError(at, f"letters follow a number: {_word_at(text, at)!r}", "allowed: k, M, G, %")
        if match.lastgroup != "space":
            tokens.append(Token(match.lastgroup, match.group(), at))
        at = match.end()
    return [*tokens, Token("end", "", len(text))]


def _word_at(text: str, at: int) -> str:
    match = re.match(r"[\w.]+", text[at:])
    assert match is not None
    return match.group()


def _suggest_sign(character: str) -> str:
    return {
        "±": "write +-",
        "≈": "write ~",
        "≤": "write <=",
        "≥": "write >=",
        "'": 'write "..."',
        ":": 'write a name with : in quotes: "mine.py:Net"',
    }.get(character, "")
