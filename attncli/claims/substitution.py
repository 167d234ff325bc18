"""Rewrite a claim for another backbone, so that it can be tested on a small machine."""

from dataclasses import replace

from attncli import backbones
from attncli.claims import language
from attncli.claims.claim_files import Claim
from attncli.claims.language import (
    EXACT,
    BinaryOperation,
    ComparisonChain,
    ComparisonLink,
    Expression,
    FunctionCall,
    NamedModule,
    Negation,
    Number,
    Quantity,
)


def substitute_backbone(claim: Claim, backbone: str | None) -> tuple[language.ClaimTree, tuple[str, ...]]:
    """Return the claim's tree with `backbone` in all measured quantities, and a label that says so.

    Exact quantities keep their networks. A claim that compares backbones with each other, or with
    whole networks, stays as it is: in another size it would say something else.
    """
    assert claim.tree is not None
    measured = [q for q in language.iterate_quantities(claim.tree) if q.name not in EXACT]
    own_backbones = {q.network.base.name for q in measured}
    if (
        backbone is None
        or len(own_backbones) != 1
        or own_backbones == {backbone}
        or not own_backbones <= set(backbones.backbone_names())
    ):
        return claim.tree, ()
    parts = tuple(
        ComparisonChain(
            _substitute_expression(p.first, backbone), tuple(_substitute_link(link, backbone) for link in p.links)
        )
        for p in claim.tree.parts
    )
    return language.ClaimTree(parts), (f"on another network: {backbone} (claimed of {own_backbones.pop()})",)


def _substitute_link(link: ComparisonLink, backbone: str) -> ComparisonLink:
    tolerance = None if link.tolerance is None else _substitute_expression(link.tolerance, backbone)
    return replace(link, right=_substitute_expression(link.right, backbone), tolerance=tolerance)


def _substitute_expression(tree: Expression, backbone: str) -> Expression:
    """Return the expression with the backbone of every measured quantity replaced."""
    if isinstance(tree, Quantity):
        base = tree.network.base
        if tree.name in EXACT or base.name not in backbones.backbone_names():
            return tree
        return replace(tree, network=replace(tree.network, base=NamedModule(backbone, at=base.at)))
    if isinstance(tree, FunctionCall):
        return replace(tree, arguments=tuple(_substitute_expression(argument, backbone) for argument in tree.arguments))
    if isinstance(tree, Negation):
        return Negation(_substitute_expression(tree.of, backbone))
    if isinstance(tree, BinaryOperation):
        return BinaryOperation(
            tree.sign, _substitute_expression(tree.left, backbone), _substitute_expression(tree.right, backbone)
        )
    assert isinstance(tree, Number)
    return tree
