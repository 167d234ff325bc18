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
    part     := name ["[" key "=" value ("," key "=" value)* "]"]
    number   := 100, 1_000, 1e-3, 2.53M, 4k, 1.8G, 3 %

A chain a < b < c means a < b and b < c. Names may contain "-", so subtraction needs a space before it.
"""

from attncli.survey.language.parse import parse_claim
from attncli.survey.language.tokens import LanguageError
from attncli.survey.language.tree import (
    ACCURACY,
    EXACT,
    QUANTITIES,
    SPEED,
    BinaryOperation,
    ClaimTree,
    ComparisonChain,
    Expression,
    FunctionCall,
    ComparisonLink,
    Negation,
    NetworkExpression,
    Number,
    NamedModule,
    Quantity,
    iterate_quantities,
)  # fmt: skip
from attncli.survey.language.write import format_tree

__all__ = [
    "ACCURACY",
    "EXACT",
    "QUANTITIES",
    "SPEED",
    "BinaryOperation",
    "ClaimTree",
    "ComparisonChain",
    "Expression",
    "FunctionCall",
    "LanguageError",
    "ComparisonLink",
    "Negation",
    "NetworkExpression",
    "Number",
    "NamedModule",
    "Quantity",
    "parse_claim",
    "iterate_quantities",
    "format_tree",
]
