"""The arithmetic of claims: from expressions to numbers, from comparisons to slacks.

A slack says by how much a comparison is fulfilled: `a > b` has a - b, `a < b` has b - a, and `a ~ b +- t`, which says
two things, has a - b + t and b + t - a; in `~ 2.5M +- 5 %` t is a share of b. The comparison holds if every slack is
above 0 (`<=`, `>=`: or 0).
"""

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from attncli.claims.language import (
    ACCURACY,
    EXACT,
    BinaryOperation,
    ComparisonLink,
    Expression,
    FunctionCall,
    Negation,
    Number,
    Quantity,
    iterate_nodes,
    iterate_quantities,
)

Lookup = Callable[[Quantity], float]
FUNCTIONS: dict[str, Callable[[list[float]], float]] = {"abs": lambda x: abs(x[0]), "max": max, "min": min}


def evaluate_expression(tree: Expression, lookup: Lookup) -> float:
    """Return the value of an expression; `lookup` gives those of its quantities.

    Raises ZeroDivisionError if it divides by 0.
    """
    if isinstance(tree, Number):
        return tree.value
    if isinstance(tree, Quantity):
        return lookup(tree)
    if isinstance(tree, Negation):
        return -evaluate_expression(tree.of, lookup)
    if isinstance(tree, FunctionCall):
        return FUNCTIONS[tree.name]([evaluate_expression(argument, lookup) for argument in tree.arguments])
    assert isinstance(tree, BinaryOperation)
    left_value, right_value = evaluate_expression(tree.left, lookup), evaluate_expression(tree.right, lookup)
    if tree.sign == "+":
        return left_value + right_value
    if tree.sign == "-":
        return left_value - right_value
    return left_value * right_value if tree.sign == "*" else left_value / right_value


@dataclass(frozen=True)
class _Interval:
    """That `value` lies within `tolerance` of `centre`, or within this share of it."""

    value: Expression
    centre: Expression
    tolerance: Expression
    is_share: bool = False


def compute_slacks(left_side: Expression, link: ComparisonLink, lookup: Lookup) -> tuple[float, ...]:
    """Return by how much the comparison is fulfilled, one slack per thing that it says. Not for == and !=.

    `abs(x) < t` says what `x ~ 0 +- t` says, and `a > max(b, c)` what `a > b` and `a > c` say: of figures with noise
    that is not the same as taking the size or the largest first, which noise makes larger.
    """
    if (interval := _read_interval(left_side, link)) is not None:
        value, centre, tolerance = (
            evaluate_expression(tree, lookup) for tree in (interval.value, interval.centre, interval.tolerance)
        )
        tolerance *= abs(centre) if interval.is_share else 1
        return value - centre + tolerance, centre + tolerance - value
    is_greater = link.sign in (">", ">=")
    left_choices = _list_choices(left_side, "min" if is_greater else "max")
    right_choices = _list_choices(link.right, "max" if is_greater else "min")
    left_values = [evaluate_expression(tree, lookup) for tree in left_choices]
    right_values = [evaluate_expression(tree, lookup) for tree in right_choices]
    return tuple(a - b if is_greater else b - a for a in left_values for b in right_values)


def _read_interval(left_side: Expression, link: ComparisonLink) -> _Interval | None:
    """Return the interval of `a ~ b +- t`, or of `abs(a) < t` and `t > abs(a)`, which is around 0; else None."""
    if link.sign == "~":
        assert link.tolerance is not None  # the language has no ~ without +-
        return _Interval(left_side, link.right, link.tolerance, is_share_of_value(left_side, link))
    if link.sign in ("<", "<=") and isinstance(left_side, FunctionCall) and left_side.name == "abs":
        return _Interval(left_side.arguments[0], Number("0"), link.right)
    if link.sign in (">", ">=") and isinstance(link.right, FunctionCall) and link.right.name == "abs":
        return _Interval(link.right.arguments[0], Number("0"), left_side)
    return None


def is_share_of_value(left_side: Expression, link: ComparisonLink) -> bool:
    """Return whether the tolerance of `~` is a share of the value before it, as in `params(a) ~ 2.5M +- 5 %`.

    Beside accuracies, values in % and 0 it is in points: `top1(a) ~ top1(b) +- 0.5 %`, `~ 10 % +- 0.5 %`.
    """
    if not isinstance(link.tolerance, Number) or link.tolerance.suffix != "%":
        return False
    nodes = [*iterate_nodes(left_side), *iterate_nodes(link.right)]
    is_in_points = any(isinstance(node, Number) and node.suffix == "%" for node in nodes)
    is_in_points |= any(isinstance(node, Quantity) and node.name in ACCURACY for node in nodes)
    return not is_in_points and not (isinstance(link.right, Number) and link.right.value == 0)


def has_tolerance(left_side: Expression, link: ComparisonLink) -> bool:
    """Return whether it says that something lies in an interval: `a ~ b +- t`, or `abs(a) < t`."""
    return _read_interval(left_side, link) is not None


def _list_choices(tree: Expression, name: str) -> tuple[Expression, ...]:
    """Return what a function of this name chooses from, or the expression itself if it is no such function."""
    return tree.arguments if isinstance(tree, FunctionCall) and tree.name == name else (tree,)


def find_biased_functions(left_side: Expression, link: ComparisonLink) -> list[FunctionCall]:
    """Return the functions of measured quantities that `compute_slacks` does not take apart.

    `abs(a - b) > t` is true of equal networks whose figures have enough noise, and `max(a, b) > c` of equal ones.
    """
    if (interval := _read_interval(left_side, link)) is not None:
        trees: tuple[Expression, ...] = (interval.value, interval.centre, interval.tolerance)
    else:
        is_greater = link.sign in (">", ">=")
        right_choices = _list_choices(link.right, "max" if is_greater else "min")
        trees = (*_list_choices(left_side, "min" if is_greater else "max"), *right_choices)
    nodes = [node for tree in trees for node in iterate_nodes(tree)]
    return [node for node in nodes if isinstance(node, FunctionCall) and _is_measured(node)]


def _is_measured(tree: Expression) -> bool:
    return any(quantity.name not in EXACT for quantity in iterate_quantities(tree))


def holds_exactly(left_side: Expression, link: ComparisonLink, lookup: Lookup) -> bool:
    """Return whether the comparison of exact numbers is true."""
    if link.sign in ("==", "!="):
        return (evaluate_expression(left_side, lookup) == evaluate_expression(link.right, lookup)) == (
            link.sign == "=="
        )
    slacks = compute_slacks(left_side, link, lookup)
    return all(s >= 0 for s in slacks) if link.sign in ("<=", ">=", "~") else all(s > 0 for s in slacks)


def find_null_difference(left_side: Expression, link: ComparisonLink, exact: Lookup) -> float | None:
    """Return left minus right for networks that do equally well, or None if that depends on how well they do.

    `a > b - 1 %` has 0.01, `a - b > 1 %` has -0.01, `a > 90 %` has none. `exact` looks up what is no accuracy.
    """

    def difference_at(level: float) -> float:
        def read_level(quantity: Quantity) -> float:
            return level if quantity.name in ACCURACY else exact(quantity)

        return evaluate_expression(left_side, read_level) - evaluate_expression(link.right, read_level)

    first, second = difference_at(0.5), difference_at(0.75)
    return first if math.isclose(first, second, abs_tol=1e-12) else None


def is_about_level(left_side: Expression, link: ComparisonLink) -> bool:
    """Return whether it depends on how well networks do, and not only on which does better: `top1(a) < 80 %`."""
    with suppress(ZeroDivisionError):  # of two counts that differ, which are not counted for this
        return find_null_difference(left_side, link, lambda _: 1.0) is None
    return False


def find_null_slacks(left_side: Expression, link: ComparisonLink, exact: Lookup) -> tuple[float | None, ...]:
    """Return each slack for networks that do equally well, or None for one that depends on how well they do."""

    def slacks_at(level: float) -> tuple[float, ...]:
        return compute_slacks(left_side, link, lambda q: level if q.name in ACCURACY else exact(q))

    pairs = zip(slacks_at(0.5), slacks_at(0.75), strict=True)
    return tuple(first if math.isclose(first, second, abs_tol=1e-12) else None for first, second in pairs)
