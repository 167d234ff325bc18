"""A tree back to text, in one form: `parse(write(tree)) == tree`."""

import re

from attncli.survey.language.parse import CONSTANTS
from attncli.survey.language.tokens import NAME
from attncli.survey.language.tree import (
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

_STRENGTH = {"+": 1, "-": 1, "*": 2, "/": 2}  # of an operand: 3 is a unary


def write(tree: Claim | Compare | Link | Expression | Network) -> str:
    """The text of a tree, with single spaces and no brackets that could be left out."""
    if isinstance(tree, Claim):
        return " and ".join(map(write, tree.parts))
    if isinstance(tree, Compare):
        return " ".join([_expression(tree.first), *map(write, tree.links)])
    if isinstance(tree, Link):
        tolerance = "" if tree.tolerance is None else f" +- {_expression(tree.tolerance)}"
        return f"{tree.sign} {_expression(tree.right)}{tolerance}"
    return network(tree) if isinstance(tree, Network) else _expression(tree)


def _expression(tree: Expression) -> str:
    if isinstance(tree, Number):
        return f"{tree.text} %" if tree.suffix == "%" else tree.text + tree.suffix
    if isinstance(tree, Quantity):
        return f"{tree.name}({', '.join([network(tree.network), *_pairs(tree.settings)])})"
    if isinstance(tree, Function):
        return f"{tree.name}({', '.join(map(_expression, tree.arguments))})"
    if isinstance(tree, Negative):
        return f"-{_operand(tree.of, 3)}"
    strength = _STRENGTH[tree.sign]
    return f"{_operand(tree.left, strength)} {tree.sign} {_operand(tree.right, strength + 1)}"


def _operand(tree: Expression, least: int) -> str:
    """In brackets where it binds less than `least`."""
    strength = _STRENGTH[tree.sign] if isinstance(tree, Binary) else 3
    text = _expression(tree)
    return f"({text})" if strength < least else text


def network(tree: Network) -> str:
    """Such as resnet50 + eca[k=3] @ pre-norm / stages 3 4."""
    text = _part(tree.base)
    if tree.attn is not None:
        text += f" + {_part(tree.attn)}"
    if tree.site is not None:
        text += f" @ {tree.site}"
    places = {"stages": tree.stages, "blocks": tree.blocks}
    told = [" ".join([name, *map(str, numbers)]) for name, numbers in places.items() if numbers is not None]
    return f"{text} / {' '.join(told)}" if told else text


def _part(part: Part) -> str:
    return f"{part.name}[{', '.join(_pairs(part.options))}]" if part.options else part.name


def _pairs(options: Options) -> list[str]:
    return [f"{key}={value(given)}" for key, given in options]


def value(given: Value) -> str:
    """A value as the language writes it."""
    if isinstance(given, tuple):
        return f"[{', '.join(map(value, given))}]"
    for word, constant in CONSTANTS.items():
        if given is constant:
            return word
    if isinstance(given, str):
        return given if re.fullmatch(NAME, given, re.ASCII) and given not in CONSTANTS else f'"{given}"'
    return repr(given)
