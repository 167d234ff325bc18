"""The language of claims: a comparison of quantities of networks, read into a tree and written back.

    params(resnet50 + eca) - params(resnet50) < 100
    top1(resnet50 + cbam) > top1(resnet50 + se) > top1(resnet50)
    train_speed(resnet50 + cbam) / train_speed(resnet50) ~ 0.46 +- 10 %
    macs(resnet50 + bam[combine=sum] @ gate / stages 3 4, size=256) < 1.05 * macs(resnet50, size=256)

    claim    := compare ("and" compare)*
    compare  := sum (("<" | "<=" | ">" | ">=" | "==" | "!=") sum | "~" sum "+-" sum)+
    sum      := product (("+" | "-") product)*
    product  := unary (("*" | "/") unary)*
    unary    := "-" unary | number | call | "(" sum ")"
    call     := quantity "(" network ("," key "=" value)* ")" | ("abs" | "max" | "min") "(" sum ("," sum)* ")"
    network  := part ["+" part] ["@" site] ["/" ("stages" | "blocks") integer+ ...]
    part     := (name | "a name in quotes") ["[" key "=" value ("," key "=" value)* "]"]
    number   := 100, 1_000, 1e-3, 2.53M, 4k, 1.8G, 3 %

Names of a user's files (`"mine.py:Net"`), of timm and of combinations (`"se+simam"`) stand in quotes.
A chain a < b < c means a < b and b < c.
A tolerance in % is a share of the value before it: `~ 2.5M +- 5 %`. Beside accuracies and values in % it is in points.
Names may contain "-", so subtraction needs a space before it.
"""

from attncli.claims.language.format import format_tree
from attncli.claims.language.parse import parse_claim
from attncli.claims.language.tokens import LanguageError
from attncli.claims.language.tree import (
    ACCURACY,
    EXACT,
    QUANTITIES,
    SPEED,
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
    Quantity,
    iterate_nodes,
    iterate_quantities,
)

__all__ = [
    "ACCURACY",
    "EXACT",
    "QUANTITIES",
    "SPEED",
    "BinaryOperation",
    "ClaimTree",
    "ComparisonChain",
    "ComparisonLink",
    "Expression",
    "FunctionCall",
    "LanguageError",
    "NamedModule",
    "Negation",
    "NetworkExpression",
    "Number",
    "Quantity",
    "format_tree",
    "iterate_nodes",
    "iterate_quantities",
    "parse_claim",
]
