"""From a tree back to text, in one form: `parse_claim(format_tree(tree)) == tree`."""

import re

from attncli.claims.language.parse import CONSTANTS
from attncli.claims.language.tokens import NAME
from attncli.claims.language.tree import (
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

_STRENGTH = {"+": 1, "-": 1, "*": 2, "/": 2}  # of an operand: 3 is a unary


def format_tree(tree: ClaimTree | ComparisonChain | ComparisonLink | Expression | NetworkExpression) -> str:
    """Return the text of a tree, with single spaces and no unnecessary brackets."""
    if isinstance(tree, ClaimTree):
        return " and ".join(map(format_tree, tree.parts))
    if isinstance(tree, ComparisonChain):
        return " ".join([_format_expression(tree.first), *map(format_tree, tree.links)])
    if isinstance(tree, ComparisonLink):
        tolerance = "" if tree.tolerance is None else f" +- {_format_expression(tree.tolerance)}"
        return f"{tree.sign} {_format_expression(tree.right)}{tolerance}"
    return format_network(tree) if isinstance(tree, NetworkExpression) else _format_expression(tree)


def _format_expression(tree: Expression) -> str:
    if isinstance(tree, Number):
        return f"{tree.text} %" if tree.suffix == "%" else tree.text + tree.suffix
    if isinstance(tree, Quantity):
        return f"{tree.name}({', '.join([format_network(tree.network), *_format_pairs(tree.settings)])})"
    if isinstance(tree, FunctionCall):
        return f"{tree.name}({', '.join(map(_format_expression, tree.arguments))})"
    if isinstance(tree, Negation):
        return f"-{_format_operand(tree.of, 3)}"
    strength = _STRENGTH[tree.sign]
    return f"{_format_operand(tree.left, strength)} {tree.sign} {_format_operand(tree.right, strength + 1)}"


def _format_operand(tree: Expression, least: int) -> str:
    """Return the operand, in brackets if it binds less strongly than `least`."""
    strength = _STRENGTH[tree.sign] if isinstance(tree, BinaryOperation) else 3
    text = _format_expression(tree)
    return f"({text})" if strength < least else text


def format_network(tree: NetworkExpression) -> str:
    """Return a network's text, such as resnet50 + eca[k=3] @ pre-norm / stages 3 4."""
    text = _format_module(tree.base)
    if tree.attn is not None:
        text += f" + {_format_module(tree.attn)}"
    if tree.site is not None:
        text += f" @ {tree.site}"
    places = {"stages": tree.stages, "blocks": tree.blocks}
    placements = [" ".join([name, *map(str, numbers)]) for name, numbers in places.items() if numbers is not None]
    return f"{text} / {' '.join(placements)}" if placements else text


def _format_module(part: NamedModule) -> str:
    name = format_literal(part.name)
    return f"{name}[{', '.join(_format_pairs(part.options))}]" if part.options else name


def _format_pairs(options: Options) -> list[str]:
    return [f"{key}={format_literal(value)}" for key, value in options]


def format_literal(value: Value) -> str:
    """Return a value as the language writes it."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(format_literal, value))}]"
    for word, constant in CONSTANTS.items():
        if value is constant:
            return word
    if isinstance(value, str):
        return value if re.fullmatch(NAME, value, re.ASCII) and value not in CONSTANTS else f'"{value}"'
    return repr(value)
