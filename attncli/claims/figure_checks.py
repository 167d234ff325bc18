"""Comparisons that say something else than they seem to: `params(a) < params(b) + 5 %`, `top1(a) - top1(b) > 1`."""

import itertools
import math
from typing import Literal

from attncli.claims import language
from attncli.claims.evaluate import is_share_of_value
from attncli.claims.language import (
    ACCURACY,
    BinaryOperation,
    ComparisonLink,
    Expression,
    FunctionCall,
    LanguageError,
    Negation,
    Number,
    Quantity,
)

Unit = Literal["share", "count"]  # a share of 1, such as 5 % and an accuracy; speeds and seconds are counts here
Range = tuple[float, float]
UNLIMITED: Range = (-math.inf, math.inf)


def check_figures(left_side: Expression, link: ComparisonLink) -> None:
    """Raise LanguageError for a count beside a percentage, and for a comparison that comes out the same always."""
    tolerance = None if link.tolerance is None or is_share_of_value(left_side, link) else link.tolerance
    sides = [side for side in (left_side, link.right, tolerance) if side is not None]
    if len(set[Unit]().union(*map(_find_units, sides))) > 1:
        hint = "5 % is 0.05: write 5 % * params(resnet50), or compare a ratio"
        raise LanguageError(link.at, "a percentage or accuracy beside a figure that is none", hint)
    if _is_decided(left_side, link):
        problem = "accuracies are 0 to 1: whatever they are, this comes out the same"
        raise LanguageError(link.at, problem, "a point is 1 %")


def _find_units(tree: Expression) -> set[Unit]:
    """Return the units of the figures that an expression adds; a ratio and a plain number have none."""
    if isinstance(tree, Number):
        return {"share"} if tree.suffix == "%" else set()
    if isinstance(tree, Quantity):
        return {"share"} if tree.name in ACCURACY else {"count"}
    if isinstance(tree, Negation):
        return _find_units(tree.of)
    parts = tree.arguments if isinstance(tree, FunctionCall) else (tree.left, tree.right)
    units = [_find_units(part) for part in parts]
    is_product = isinstance(tree, BinaryOperation) and tree.sign in ("*", "/")
    if is_product and all(len(own_units) < 2 for own_units in units):
        is_multiple = isinstance(tree, BinaryOperation) and tree.sign == "*" and units.count({"count"}) == 1
        return {"count"} if is_multiple else set()
    return set[Unit]().union(*units)


def _is_decided(left_side: Expression, link: ComparisonLink) -> bool:
    """Return whether a comparison of accuracies comes out the same whatever they are.

    One accuracy beside 0 or 1 is let through: it says nothing, and means nothing else.
    """
    sides = (left_side, link.right)
    is_limit = any(isinstance(side, Number) and side.value in (0, 1) for side in sides)
    quantities = [*language.iterate_quantities(left_side), *language.iterate_quantities(link)]
    if (is_limit and any(isinstance(side, Quantity) for side in sides)) or not any(
        quantity.name in ACCURACY for quantity in quantities
    ):
        return False
    low, high = _find_range(BinaryOperation("-", left_side, link.right))
    if link.tolerance is None:
        return high <= 0 or low >= 0
    least, most = _find_range(link.tolerance)
    return low > most or high < -most or -least <= low <= high <= least


def _find_range(tree: Expression) -> Range:
    """Return the lowest and the highest value that an expression can have, or lower and higher ones."""
    if isinstance(tree, Number):
        return tree.value, tree.value
    if isinstance(tree, Quantity):
        return (0.0, 1.0) if tree.name in ACCURACY else UNLIMITED
    if isinstance(tree, Negation):
        low, high = _find_range(tree.of)
        return -high, -low
    if isinstance(tree, FunctionCall):
        return _find_range_of_call(tree)
    left, right = _find_range(tree.left), _find_range(tree.right)
    if tree.sign == "+":
        return left[0] + right[0], left[1] + right[1]
    if tree.sign == "-":
        return left[0] - right[1], left[1] - right[0]
    if tree.sign == "/" or not all(map(math.isfinite, (*left, *right))):
        return UNLIMITED
    products = [a * b for a, b in itertools.product(left, right)]
    return min(products), max(products)


def _find_range_of_call(tree: FunctionCall) -> Range:
    """Return the same for abs, max and min."""
    ranges = [_find_range(argument) for argument in tree.arguments]
    if tree.name == "abs":
        low, high = ranges[0]
        return max(0.0, low, -high), max(abs(low), abs(high))
    choose = max if tree.name == "max" else min
    return choose(low for low, _ in ranges), choose(high for _, high in ranges)
