"""Tokens to a tree, by recursive descent: a function for each rule of the grammar (see the package)."""

from collections.abc import Callable

from attncli.errors import nearest
from attncli.survey.language.tokens import LanguageError, Token, tokens
from attncli.survey.language.tree import (
    FUNCTIONS,
    ORDERS,
    QUANTITIES,
    SETTINGS,
    Binary,
    Claim,
    Compare,
    Expression,
    Function,
    Link,
    Negative,
    Network,
    Number,
    Options,
    Part,
    Quantity,
    Value,
)  # fmt: skip

PLACES = ("stages", "blocks")
CONSTANTS: dict[str, Value] = {"true": True, "false": False, "null": None}


def parse(text: str) -> Claim:
    """The tree of a claim.

    Raises LanguageError for text that is no claim, with its place; unknown quantities and keys name the nearest.
    Names of networks, mechanisms and options are not looked up here.
    """
    cursor = _Cursor(tokens(text))
    tree = _claim(cursor)
    if cursor.next.kind != "end":
        raise LanguageError(cursor.next.at, f"{cursor.next.told()} after the end of the claim", "join claims by 'and'")
    return tree


class _Cursor:
    """The tokens, and how far they have been read."""

    def __init__(self, found: list[Token]) -> None:
        self._tokens = found
        self._i = 0

    @property
    def next(self) -> Token:
        """The token to be read next."""
        return self._tokens[self._i]

    def take(self) -> Token:
        """Read a token."""
        token = self.next
        self._i += token.kind != "end"
        return token

    def at(self, *texts: str) -> bool:
        """Whether one of these comes next."""
        return self.next.kind in ("sign", "name") and self.next.text in texts

    def skip(self, text: str) -> bool:
        """Read this if it comes next."""
        here = self.at(text)
        if here:
            self.take()
        return here

    def expect(self, text: str, what: str = "") -> Token:
        """Read this or raise."""
        if not self.at(text):
            raise LanguageError(self.next.at, f"'{text}' expected{what}, not {self.next.told()}")
        return self.take()

    def name(self, what: str) -> Token:
        """Read a name or raise."""
        if self.next.kind != "name":
            raise LanguageError(self.next.at, f"{what} expected, not {self.next.told()}")
        return self.take()


def _claim(c: _Cursor) -> Claim:
    parts = [_compare(c)]
    while c.skip("and"):
        parts.append(_compare(c))
    return Claim(tuple(parts))


def _compare(c: _Cursor) -> Compare:
    first, links = _sum(c), []
    while c.at(*ORDERS, "~"):
        sign = c.take()
        right = _sum(c)
        tolerance = None
        if sign.text == "~":
            c.expect("+-", " after ~ and a value")
            tolerance = _sum(c)
        links.append(Link(sign.text, right, tolerance, sign.at))
    if not links:
        hint = "a claim compares: one of < <= > >= == != ~"
        if c.at("="):
            hint = "write =="
        raise LanguageError(c.next.at, f"a comparison expected, not {c.next.told()}", hint)
    return Compare(first, tuple(links))


def _sum(c: _Cursor) -> Expression:
    return _chain(c, ("+", "-"), _product)


def _product(c: _Cursor) -> Expression:
    return _chain(c, ("*", "/"), _unary)


def _chain(c: _Cursor, signs: tuple[str, str], operand: Callable[[_Cursor], Expression]) -> Expression:
    left = operand(c)
    while c.at(*signs):
        left = Binary(c.take().text, left, operand(c))
    return left


def _unary(c: _Cursor) -> Expression:
    if c.skip("-"):
        return Negative(_unary(c))
    if c.next.kind == "number":
        return _number(c.take())
    if c.skip("("):
        inside = _sum(c)
        c.expect(")")
        return inside
    if c.next.kind == "name" and not c.at("and"):
        return _call(c)
    raise LanguageError(c.next.at, f"a number or a quantity expected, not {c.next.told()}")


def _number(token: Token) -> Number:
    text = token.text.rstrip("%kMG ")
    return Number(text, token.text[len(text) :].strip(), token.at)


def _call(c: _Cursor) -> Expression:
    name = c.take()
    known = (*QUANTITIES, *FUNCTIONS)
    if name.text not in known:
        raise LanguageError(name.at, f"unknown quantity: '{name.text}'", nearest(name.text, known))
    c.expect("(", f" after {name.text}")
    if name.text in FUNCTIONS:
        arguments = [_sum(c)]
        while c.skip(","):
            arguments.append(_sum(c))
        if name.text == "abs" and len(arguments) > 1:
            raise LanguageError(name.at, "abs of several numbers", "max and min take several")
        c.expect(")")
        return Function(name.text, tuple(arguments), name.at)
    network = _network(c)
    settings = _pairs(c, tuple(SETTINGS), "setting") if c.skip(",") else ()
    c.expect(")")
    return Quantity(name.text, network, settings, name.at)


def _network(c: _Cursor) -> Network:
    at = c.next.at
    base = _part(c, "a network")
    attn = _part(c, "a mechanism") if c.skip("+") else None
    site = c.name("a site").text if c.skip("@") else None
    places: dict[str, tuple[int, ...]] = {}
    if c.skip("/"):
        while c.at(*PLACES):
            which = c.take().text
            places[which] = _integers(c)
        if not places:
            raise LanguageError(c.next.at, f"'stages' or 'blocks' expected, not {c.next.told()}")
    return Network(base, attn, site, places.get("stages"), places.get("blocks"), at)


def _part(c: _Cursor, what: str) -> Part:
    name = c.name(what)
    options: Options = ()
    if c.skip("["):
        options = _pairs(c, None, "option")
        c.expect("]")
    return Part(name.text, options, name.at)


def _integers(c: _Cursor) -> tuple[int, ...]:
    found: list[int] = []
    while c.next.kind == "number" or c.at("-"):
        sign = -1 if c.skip("-") else 1
        token = c.take()
        if not token.text.isdigit():
            raise LanguageError(token.at, f"a whole number expected, not {token.told()}")
        found.append(sign * int(token.text))
    if not found:
        raise LanguageError(c.next.at, f"a whole number expected, not {c.next.told()}")
    return tuple(found)


def _pairs(c: _Cursor, known: tuple[str, ...] | None, what: str) -> Options:
    """key=value, key=value; each key once, and one of `known` where that is given."""
    found: dict[str, Value] = {}
    while not found or c.skip(","):
        key = c.name(f"the name of a{'n' * (what == 'option')} {what}")
        if known is not None and key.text not in known:
            raise LanguageError(key.at, f"unknown {what}: '{key.text}'", nearest(key.text, known))
        if key.text in found:
            raise LanguageError(key.at, f"{what} '{key.text}' stands twice", "leave one out")
        c.expect("=")
        found[key.text] = _value(c)
    return tuple(found.items())


def _value(c: _Cursor) -> Value:
    if c.skip("["):
        values = [] if c.at("]") else [_value(c)]
        while c.skip(","):
            values.append(_value(c))
        c.expect("]")
        return tuple(values)
    sign = -1 if c.skip("-") else 1
    token = c.take()
    if token.kind == "number":
        value = _number(token).value
        return sign * value
    if sign == 1 and token.kind == "name":
        return CONSTANTS.get(token.text, token.text)
    if sign == 1 and token.kind == "text":
        return token.text[1:-1]
    raise LanguageError(token.at, f"a value expected, not {token.told()}")
