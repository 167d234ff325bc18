"""The arithmetic of claims: expressions to numbers, comparisons to slacks.

A slack is by how much a comparison is fulfilled: `a > b` has a - b, `a < b` has b - a, and `a ~ b +- t`, which says
two things, has a - b + t and b + t - a. The comparison holds where every slack is above 0 (`<=`, `>=`: or 0).
"""

import math
from collections.abc import Callable

from attncli.survey.language import ACCURACY, Binary, Expression, Function, Link, Negative, Number, Quantity

Lookup = Callable[[Quantity], float]
FUNCTIONS: dict[str, Callable[[list[float]], float]] = {"abs": lambda x: abs(x[0]), "max": max, "min": min}


def evaluate(tree: Expression, lookup: Lookup) -> float:
    """The number that an expression comes to; `lookup` tells the quantities.

    Raises ZeroDivisionError where it divides by nothing.
    """
    if isinstance(tree, Number):
        return tree.value
    if isinstance(tree, Quantity):
        return lookup(tree)
    if isinstance(tree, Negative):
        return -evaluate(tree.of, lookup)
    if isinstance(tree, Function):
        return FUNCTIONS[tree.name]([evaluate(argument, lookup) for argument in tree.arguments])
    assert isinstance(tree, Binary)
    left, right = evaluate(tree.left, lookup), evaluate(tree.right, lookup)
    if tree.sign == "+":
        return left + right
    if tree.sign == "-":
        return left - right
    return left * right if tree.sign == "*" else left / right


def slacks(left: Expression, link: Link, lookup: Lookup) -> tuple[float, ...]:
    """By how much the comparison is fulfilled, for each thing that it says. Not for == and !=.

    `abs(x) < t` says what `x ~ 0 +- t` says, and `a > max(b, c)` what `a > b` and `a > c` say: of figures with noise
    that is not the same as taking the size or the largest first, which noise makes larger.
    """
    right, up = link.right, link.sign in (">", ">=")
    if link.sign == "~" or (isinstance(left, Function) and left.name == "abs" and not up):
        middle = evaluate(right, lookup) if link.sign == "~" else 0.0
        tolerance = evaluate(link.tolerance or right, lookup)
        inside = left.arguments[0] if isinstance(left, Function) and link.sign != "~" else left
        value = evaluate(inside, lookup)
        return value - middle + tolerance, middle + tolerance - value
    lefts = [evaluate(tree, lookup) for tree in _each(left, "min" if up else "max")]
    rights = [evaluate(tree, lookup) for tree in _each(right, "max" if up else "min")]
    return tuple(a - b if up else b - a for a in lefts for b in rights)


def _each(tree: Expression, name: str) -> tuple[Expression, ...]:
    """What a function of this name chooses from; else the expression itself."""
    return tree.arguments if isinstance(tree, Function) and tree.name == name else (tree,)


def true(left: Expression, link: Link, lookup: Lookup) -> bool:
    """Whether the comparison of exact numbers is true."""
    if link.sign in ("==", "!="):
        return (evaluate(left, lookup) == evaluate(link.right, lookup)) == (link.sign == "==")
    found = slacks(left, link, lookup)
    return all(s >= 0 for s in found) if link.sign in ("<=", ">=", "~") else all(s > 0 for s in found)


def neutral(left: Expression, link: Link, exact: Lookup) -> float | None:
    """Left minus right for networks that do equally well; None where that depends on how well they do.

    `a > b - 1 %` has 0.01, `a - b > 1 %` has -0.01, `a > 90 %` has none. `exact` tells what is no accuracy.
    """

    def at(level: float) -> float:
        def lookup(quantity: Quantity) -> float:
            return level if quantity.name in ACCURACY else exact(quantity)

        return evaluate(left, lookup) - evaluate(link.right, lookup)

    first, second = at(0.5), at(0.75)
    return first if math.isclose(first, second, abs_tol=1e-12) else None
