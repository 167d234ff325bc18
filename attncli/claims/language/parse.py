"""Tokens to a tree, by recursive descent: one function per rule of the grammar (see the package)."""

from collections.abc import Callable

from attncli.claims.language.tokens import LanguageError, Token, split_tokens
from attncli.claims.language.tree import (
    FUNCTIONS,
    ORDERS,
    QUANTITIES,
    SETTINGS,
    BinaryOperation,
    ClaimTree,
    ComparisonChain,
    ComparisonLink,
    Expression,
    FunctionCall,
    NamedModule,
    Negation,
    NetworkExpression,
    Number,
    Options,
    Quantity,
    Value,
)
from attncli.errors import suggest_name

PLACEMENT_WORDS = ("stages", "blocks")
CONSTANTS: dict[str, Value] = {"true": True, "false": False, "null": None}


def parse_claim(text: str) -> ClaimTree:
    """Return the tree of a claim.

    Raises LanguageError with the position for text that is no claim, and with the nearest name for an unknown one.
    Names of networks, mechanisms and options are not looked up here.
    """
    cursor = _TokenCursor(split_tokens(text))
    tree = _parse_conjunction(cursor)
    if cursor.next_token.kind != "end":
        raise LanguageError(
            cursor.next_token.at,
            f"{cursor.next_token.quote_token()} after the end of the claim",
            "join claims by 'and'",
        )
    return tree


class _TokenCursor:
    """The tokens, and how far they have been read."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._i = 0

    @property
    def next_token(self) -> Token:
        """The token to be read next."""
        return self._tokens[self._i]

    def take_token(self) -> Token:
        """Read a token and return it; the end stays."""
        token = self.next_token
        self._i += token.kind != "end"
        return token

    def is_next(self, *texts: str) -> bool:
        """Return whether one of these comes next."""
        return self.next_token.kind in ("sign", "name") and self.next_token.text in texts

    def skip_text(self, text: str) -> bool:
        """Read this if it comes next, and return whether it did."""
        is_here = self.is_next(text)
        if is_here:
            self.take_token()
        return is_here

    def expect_text(self, text: str, what: str = "") -> Token:
        """Return this token, or raise LanguageError for another."""
        if not self.is_next(text):
            raise LanguageError(self.next_token.at, f"'{text}' expected{what}, not {self.next_token.quote_token()}")
        return self.take_token()

    def expect_name(self, what: str) -> Token:
        """Return the next token, a name, or raise LanguageError for another."""
        if self.next_token.kind != "name":
            raise LanguageError(self.next_token.at, f"{what} expected, not {self.next_token.quote_token()}")
        return self.take_token()


def _parse_conjunction(cursor: _TokenCursor) -> ClaimTree:
    parts = [_parse_chain(cursor)]
    while cursor.skip_text("and"):
        parts.append(_parse_chain(cursor))
    return ClaimTree(tuple(parts))


def _parse_chain(cursor: _TokenCursor) -> ComparisonChain:
    first, links = _parse_sum(cursor), []
    while cursor.is_next(*ORDERS, "~"):
        sign = cursor.take_token()
        right = _parse_sum(cursor)
        tolerance = None
        if sign.text == "~":
            cursor.expect_text("+-", " after ~ and a value")
            tolerance = _parse_sum(cursor)
        links.append(ComparisonLink(sign.text, right, tolerance, sign.at))
    if not links:
        hint = "a claim compares: one of < <= > >= == != ~"
        if cursor.is_next("="):
            hint = "write =="
        raise LanguageError(cursor.next_token.at, f"a comparison expected, not {cursor.next_token.quote_token()}", hint)
    return ComparisonChain(first, tuple(links))


def _parse_sum(cursor: _TokenCursor) -> Expression:
    return _parse_operators(cursor, ("+", "-"), _parse_product)


def _parse_product(cursor: _TokenCursor) -> Expression:
    return _parse_operators(cursor, ("*", "/"), _parse_unary)


def _parse_operators(
    cursor: _TokenCursor, signs: tuple[str, str], operand: Callable[[_TokenCursor], Expression]
) -> Expression:
    expression = operand(cursor)
    while cursor.is_next(*signs):
        expression = BinaryOperation(cursor.take_token().text, expression, operand(cursor))
    return expression


def _parse_unary(cursor: _TokenCursor) -> Expression:
    if cursor.skip_text("-"):
        return Negation(_parse_unary(cursor))
    if cursor.next_token.kind == "number":
        return _make_number(cursor.take_token())
    if cursor.skip_text("("):
        inside = _parse_sum(cursor)
        cursor.expect_text(")")
        return inside
    if cursor.next_token.kind == "name" and not cursor.is_next("and"):
        return _parse_call(cursor)
    raise LanguageError(cursor.next_token.at, f"a number or a quantity expected, not {cursor.next_token.quote_token()}")


def _make_number(token: Token) -> Number:
    text = token.text.rstrip("%kMG ")
    return Number(text, token.text[len(text) :].strip(), token.at)


def _parse_call(cursor: _TokenCursor) -> Expression:
    name = cursor.take_token()
    known = (*QUANTITIES, *FUNCTIONS)
    if name.text not in known:
        raise LanguageError(name.at, f"unknown quantity: '{name.text}'", suggest_name(name.text, known))
    cursor.expect_text("(", f" after {name.text}")
    if name.text in FUNCTIONS:
        arguments = [_parse_sum(cursor)]
        while cursor.skip_text(","):
            arguments.append(_parse_sum(cursor))
        if name.text == "abs" and len(arguments) > 1:
            raise LanguageError(name.at, "abs of several numbers", "max and min take several")
        cursor.expect_text(")")
        return FunctionCall(name.text, tuple(arguments), name.at)
    network = _parse_network(cursor)
    settings = _parse_pairs(cursor, tuple(SETTINGS), "setting") if cursor.skip_text(",") else ()
    cursor.expect_text(")")
    return Quantity(name.text, network, settings, name.at)


def _parse_network(cursor: _TokenCursor) -> NetworkExpression:
    at = cursor.next_token.at
    base = _parse_module(cursor, "a network")
    attn = _parse_module(cursor, "a mechanism") if cursor.skip_text("+") else None
    site = cursor.expect_name("a site").text if cursor.skip_text("@") else None
    places: dict[str, tuple[int, ...]] = {}
    if cursor.skip_text("/"):
        while cursor.is_next(*PLACEMENT_WORDS):
            which = cursor.take_token().text
            places[which] = _parse_integers(cursor)
        if not places:
            raise LanguageError(
                cursor.next_token.at, f"'stages' or 'blocks' expected, not {cursor.next_token.quote_token()}"
            )
    return NetworkExpression(base, attn, site, places.get("stages"), places.get("blocks"), at)


def _parse_module(cursor: _TokenCursor, what: str) -> NamedModule:
    is_quoted = cursor.next_token.kind == "text"
    name = cursor.take_token() if is_quoted else cursor.expect_name(what)
    options: Options = ()
    if cursor.skip_text("["):
        options = _parse_pairs(cursor, None, "option")
        cursor.expect_text("]")
    return NamedModule(name.text[1:-1] if is_quoted else name.text, options, name.at)


def _parse_integers(cursor: _TokenCursor) -> tuple[int, ...]:
    integers: list[int] = []
    while cursor.next_token.kind == "number" or cursor.is_next("-"):
        sign = -1 if cursor.skip_text("-") else 1
        token = cursor.take_token()
        if not token.text.isdigit():
            raise LanguageError(token.at, f"a whole number expected, not {token.quote_token()}")
        integers.append(sign * int(token.text))
    if not integers:
        raise LanguageError(cursor.next_token.at, f"a whole number expected, not {cursor.next_token.quote_token()}")
    return tuple(integers)


def _parse_pairs(cursor: _TokenCursor, known: tuple[str, ...] | None, what: str) -> Options:
    """Parse key=value, key=value; each key once, and one of `known` if that is given."""
    pairs: dict[str, Value] = {}
    while not pairs or cursor.skip_text(","):
        key = cursor.expect_name(f"the name of a{'n' * (what == 'option')} {what}")
        if known is not None and key.text not in known:
            raise LanguageError(key.at, f"unknown {what}: '{key.text}'", suggest_name(key.text, known))
        if key.text in pairs:
            raise LanguageError(key.at, f"{what} '{key.text}' stands twice", "leave one out")
        cursor.expect_text("=")
        pairs[key.text] = _parse_value(cursor)
    return tuple(pairs.items())


def _parse_value(cursor: _TokenCursor) -> Value:
    if cursor.skip_text("["):
        values = [] if cursor.is_next("]") else [_parse_value(cursor)]
        while cursor.skip_text(","):
            values.append(_parse_value(cursor))
        cursor.expect_text("]")
        return tuple(values)
    sign = -1 if cursor.skip_text("-") else 1
    token = cursor.take_token()
    if token.kind == "number":
        value = _make_number(token).value
        return sign * value
    if sign == 1 and token.kind == "name":
        return CONSTANTS.get(token.text, token.text)
    if sign == 1 and token.kind == "text":
        return token.text[1:-1]
    raise LanguageError(token.at, f"a value expected, not {token.quote_token()}")
