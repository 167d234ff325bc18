"""The language of claims: what is written is what is read, and errors point at their place."""

import contextlib
import random

import pytest

from attncli.claims.language import (
    QUANTITIES,
    BinaryOperation,
    ClaimTree,
    ComparisonChain,
    ComparisonLink,
    Expression,
    FunctionCall,
    LanguageError,
    NamedModule,
    Negation,
    NetworkExpression,
    Number,
    Quantity,
    format_tree,
    iterate_quantities,
    parse_claim,
)
from attncli.claims.language.tree import SETTINGS

NAMES = ("resnet50", "eca", "self-attention", "mobilenet_v2", "a", "pre-norm", "resnext50_32x4d", "stages")
VALUES = (3, -1, 0.5, 1e-4, -2.5e-7, True, False, None, "avg", "theta-minus", "true", "3x3", "", (1, 2), ("a", ()), ())


class Grower:
    """Grows trees at random."""

    def __init__(self, seed: int) -> None:
        self.r = random.Random(seed)

    def claim(self) -> ClaimTree:
        """A few comparisons."""
        return ClaimTree(tuple(self.compare() for _ in range(self.r.randint(1, 3))))

    def compare(self) -> ComparisonChain:
        """A chain."""
        return ComparisonChain(self.expression(3), tuple(self.link() for _ in range(self.r.randint(1, 3))))

    def link(self) -> ComparisonLink:
        """A step of a chain."""
        sign = self.r.choice(("<", "<=", ">", ">=", "==", "!=", "~"))
        return ComparisonLink(sign, self.expression(2), self.expression(1) if sign == "~" else None)

    def expression(self, depth: int) -> Expression:
        """At most `depth` levels."""
        kind = self.r.randrange(5) if depth else self.r.randrange(2)
        if kind == 0:
            text = self.r.choice(("0", "100", "1_000", "1e-3", "2.53", "25557032", "4.7E+4"))
            return Number(text, self.r.choice(("", "", "k", "M", "G", "%")))
        if kind == 1:
            return Quantity(self.r.choice(tuple(QUANTITIES)), self.network(), self.options(tuple(SETTINGS)))
        if kind == 2:
            return Negation(self.expression(depth - 1))
        if kind == 3:
            name = self.r.choice(("abs", "max", "min"))
            several = 1 if name == "abs" else self.r.randint(1, 3)
            return FunctionCall(name, tuple(self.expression(depth - 1) for _ in range(several)))
        return BinaryOperation(self.r.choice("+-*/"), self.expression(depth - 1), self.expression(depth - 1))

    def network(self) -> NetworkExpression:
        """With or without each of its parts."""

        def maybe(value):
            return value if self.r.random() < 0.4 else None

        return NetworkExpression(
            self.part(), maybe(self.part()), maybe("pre-norm"), maybe((3, -1)), maybe(tuple(self.r.sample(range(9), 2)))
        )

    def part(self) -> NamedModule:
        """A name, mostly without options."""
        return NamedModule(self.r.choice(NAMES), self.options(("k", "e_lambda", "pool-types", "r")))

    def options(self, keys: tuple[str, ...]) -> tuple:
        """Up to two of the keys."""
        chosen = self.r.sample(keys, self.r.choice((0, 0, 1, 2)))
        return tuple((key, self.r.choice(VALUES)) for key in chosen)


def test_what_is_written_is_what_is_read():
    """A thousand random trees come back from their text, and their text from its tree."""
    for seed in range(1000):
        tree = Grower(seed).claim()
        text = format_tree(tree)
        again = parse_claim(text)
        assert again == tree, text
        assert format_tree(again) == text


def test_spaces_mean_nothing_but_before_a_minus():
    """Text squeezed and text blown up are the same claim."""
    tidy = "params(resnet50 + bam[k=3] / stages 3 4, size=64) - 2 * params(a) < -1.5M and macs(a) == 3 %"
    squeezed = "params(resnet50+bam[k=3]/stages 3 4,size=64)-2*params(a)<-1.5M and macs(a)==3%"
    assert parse_claim(squeezed) == parse_claim(tidy) == parse_claim(tidy.replace(" ", "\n  ").replace("3\n  %", "3 %"))
    assert format_tree(parse_claim(squeezed)) == tidy


def test_names_in_quotes():
    """Of files and of several mechanisms: kept as they are, and quoted again."""
    text = 'params("a b/c.py:Net" + "d.py:E"[k=3] / stages 3) > params("resnet20" + "se+simam")'
    tree = parse_claim(text)
    networks = [q.network for q in iterate_quantities(tree)]
    assert [(n.base.name, n.attn and n.attn.name) for n in networks] == [
        ("a b/c.py:Net", "d.py:E"),
        ("resnet20", "se+simam"),
    ]
    assert format_tree(tree) == text.replace('"resnet20"', "resnet20")
    assert parse_claim(format_tree(tree)) == tree


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1_000", 1000),
        ("1e-3", 0.001),
        ("2.53M", 2_530_000),
        ("4k", 4000),
        ("1.8G", 1.8e9),
        ("3 %", 0.03),
        ("0.5", 0.5),
    ],
)
def test_numbers(text, value):
    """Thousands, exponents, suffixes and percent."""
    (pair,) = parse_claim(f"params(a) < {text}").link_pairs()
    assert isinstance(pair[1].right, Number)
    assert pair[1].right.value == value


def test_products_before_sums_and_left_before_right():
    """1 - 2 - 3 * 4 is (1 - 2) - (3 * 4)."""
    (pair,) = parse_claim("1 - 2 - 3 * 4 < 5").link_pairs()
    inner = BinaryOperation("-", Number("1"), Number("2"))
    assert pair[0] == BinaryOperation("-", inner, BinaryOperation("*", Number("3"), Number("4")))
    assert format_tree(parse_claim("1 - (2 - 3) / (4 * 5) < 5")) == "1 - (2 - 3) / (4 * 5) < 5"


def test_a_chain_is_its_single_comparisons():
    """a > b > c means a > b and b > c."""
    chain, both = parse_claim("top1(a) > top1(b) > top1(c)"), parse_claim("top1(a) > top1(b) and top1(b) > top1(c)")
    assert [(left, link) for left, link in chain.link_pairs()] == [(left, link) for left, link in both.link_pairs()]
    assert [q.network.base.name for q in iterate_quantities(both)] == ["a", "b", "b", "c"]


@pytest.mark.parametrize(
    ("text", "at", "problem", "hint"),
    [
        ("parms(a) < 1", 0, "unknown quantity: 'parms'", "did you mean 'params'?"),
        ("params(a, siz=3) < 1", 10, "unknown setting: 'siz'", "did you mean 'size'?"),
        ("params(a, size=3, size=4) < 1", 18, "setting 'size' stands twice", "leave one out"),
        ("params(a) = 1", 10, "a comparison expected, not '='", "write =="),
        ("params(a)", 9, "a comparison expected, not the end", "a claim compares"),
        ("params(a) < 1 params(b) < 2", 14, "'params' after the end of the claim", "join claims by 'and'"),
        ("params(a) < 3x", 12, "letters follow a number: '3x'", "k, M, G, %"),
        ("params(a) < 2 ± 1", 14, "'±' has no meaning here", "write +-"),
        ("params(a) ~ 2", 13, "'+-' expected after ~ and a value, not the end", ""),
        ("params() < 1", 7, "a network expected, not ')'", ""),
        ("params(a + ) < 1", 11, "a mechanism expected, not ')'", ""),
        ("params(a / 3) < 1", 11, "'stages' or 'blocks' expected, not '3'", ""),
        ("params(a / stages) < 1", 17, "a whole number expected, not ')'", ""),
        ("params(a / stages 1.5) < 1", 18, "a whole number expected, not '1.5'", ""),
        ("params(a[k=]) < 1", 11, "a value expected, not ']'", ""),
        ("max(params(a) < 1", 14, "')' expected, not '<'", ""),
        ("abs(1, 2) < 1", 0, "abs of several numbers", "max and min"),
        ("params a < 1", 7, "'(' expected after params, not 'a'", ""),
        ("", 0, "a number or a quantity expected, not the end", ""),
    ],
)
def test_errors_point_at_their_place(text, at, problem, hint):
    """What is wrong, at which character, and what was meant."""
    with pytest.raises(LanguageError) as error:
        parse_claim(text)
    assert (error.value.at, error.value.problem) == (at, problem)
    assert hint in error.value.hint


def _damaged(text: str) -> list[str]:
    """The text with each character removed, doubled or replaced."""
    places = range(len(text))
    gone = [text[:i] + text[i + 1 :] for i in places]
    other = (("[", 1), (")", 1), ("-", 1), ('"', 1))
    return gone + [text[:i] + c + text[i + n :] for i in places for c, n in ((text[i], 0), *other)]


def test_no_damage_gives_another_error():
    """A claim with any character removed, doubled or replaced is read or refused, never a crash."""
    text = "params(a + b[k=[1, x]] @ c / stages 1 -2, size=3) - 2.5M < max(1e-3, -(3 %)) and top1(a) ~ 1 +- 2"
    read = 0
    for changed in _damaged(text):
        with contextlib.suppress(LanguageError):
            tree = parse_claim(changed)
            assert parse_claim(format_tree(tree)) == tree
            read += 1
    assert 0 < read < len(_damaged(text))
