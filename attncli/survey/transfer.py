"""Claims read with another network than their own: what a small machine can test of what was claimed on a large one."""

from dataclasses import replace

from attncli import backbones
from attncli.survey import language
from attncli.survey.claims import Claim
from attncli.survey.language import EXACT, Binary, Compare, Expression, Function, Link, Negative, Number, Part, Quantity


def moved(claim: Claim, backbone: str | None) -> tuple[language.Claim, tuple[str, ...]]:
    """The claim's tree with `backbone` in place of its own in all that is measured, and a label that says so.

    Exact quantities keep their networks. A claim that compares backbones with each other, or with
    whole networks, stays as it is: in another size it would say something else.
    """
    assert claim.tree is not None
    measured = [q for q in language.quantities(claim.tree) if q.name not in EXACT]
    own = {q.network.base.name for q in measured}
    if backbone is None or len(own) != 1 or own == {backbone} or not own <= set(backbones.names()):
        return claim.tree, ()
    parts = tuple(
        Compare(_put(p.first, backbone), tuple(_link(link, backbone) for link in p.links)) for p in claim.tree.parts
    )
    return language.Claim(parts), (f"on another network: {backbone} (claimed of {own.pop()})",)


def _link(link: Link, backbone: str) -> Link:
    tolerance = None if link.tolerance is None else _put(link.tolerance, backbone)
    return replace(link, right=_put(link.right, backbone), tolerance=tolerance)


def _put(tree: Expression, backbone: str) -> Expression:
    """The expression with the backbone of every measured quantity changed."""
    if isinstance(tree, Quantity):
        base = tree.network.base
        if tree.name in EXACT or base.name not in backbones.names():
            return tree
        return replace(tree, network=replace(tree.network, base=Part(backbone, at=base.at)))
    if isinstance(tree, Function):
        return replace(tree, arguments=tuple(_put(argument, backbone) for argument in tree.arguments))
    if isinstance(tree, Negative):
        return Negative(_put(tree.of, backbone))
    if isinstance(tree, Binary):
        return Binary(tree.sign, _put(tree.left, backbone), _put(tree.right, backbone))
    assert isinstance(tree, Number)
    return tree
