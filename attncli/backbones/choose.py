"""Which blocks of a network get a mechanism: those a recipe names, or else those of the mechanism's card."""

from collections.abc import Sequence

from attncli.attention import Mechanism
from attncli.backbones.anatomy import Anatomy, Block
from attncli.errors import UserError


def selected(
    anatomy: Anatomy, mechanism: Mechanism, stages: Sequence[int] | None, blocks: Sequence[int] | None, own_place: bool
) -> list[Block]:
    """The blocks that a recipe, or else the card, names."""
    if not anatomy.blocks:
        raise UserError(
            f"model.attn: '{mechanism.name}': the network has no blocks with spatial convolutions to put it in",
            "use it as it is, with --attn none, or another backbone",
        )
    _exist("stages", stages, anatomy.stages, "the network")
    _exist("blocks", blocks, max(b.index for b in anatomy.blocks), "its longest stage")
    card, cifar = mechanism.card, anatomy.stages == 3
    whole_last = card.whole_last_stage and own_place and blocks is None
    if own_place and stages is None:
        stages = card.cifar_stages if cifar and card.cifar_stages else card.stages
    if own_place and blocks is None:
        blocks = card.cifar_blocks if cifar and card.cifar_blocks else card.blocks
    found = [
        b
        for b in anatomy.blocks
        if _among(b.stage, stages, anatomy.stages)
        and (
            (whole_last and b.stage == anatomy.stages)
            or _among(b.index, blocks, max(o.index for o in anatomy.blocks if o.stage == b.stage))
        )
    ]
    if not found:
        raise UserError(
            f"model.stages={stages}, model.blocks={blocks}: no block of the network is left",
            f"it has {anatomy.stages} stages; both count from 1, or from the end with negative numbers",
        )
    return found


def _exist(what: str, chosen: Sequence[int] | None, count: int, where: str) -> None:
    """Raises UserError for numbers that a recipe names and nothing has."""
    strange = [n for n in chosen or () if not 1 <= abs(n) <= count]
    if strange:
        raise UserError(
            f"model.{what}: {', '.join(map(str, strange))}: {where} has {count} {what}",
            "they count from 1, or from the end with negative numbers",
        )


def _among(position: int, chosen: Sequence[int] | None, count: int) -> bool:
    return chosen is None or position in chosen or position - count - 1 in chosen
