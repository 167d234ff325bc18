"""Which blocks of a network get a mechanism: those a recipe names, or else those of the mechanism's card."""

from collections.abc import Sequence

from attncli.attention import Mechanism
from attncli.backbones.structure import BlockPaths, NetworkStructure
from attncli.errors import UserError


def select_blocks(
    structure: NetworkStructure,
    mechanism: Mechanism,
    stages: Sequence[int] | None,
    blocks: Sequence[int] | None,
    at_paper_site: bool,
) -> list[BlockPaths]:
    """The blocks that a recipe, or else the card, names."""
    if not structure.blocks:
        raise UserError(
            f"model.attn: '{mechanism.name}': the network has no blocks with spatial convolutions to put it in",
            "use it as it is, with --attn none, or another backbone",
        )
    _check_numbers("stages", stages, structure.stage_count, "the network")
    _check_numbers("blocks", blocks, max(b.index for b in structure.blocks), "its longest stage")
    card, is_cifar = mechanism.card, structure.stage_count == 3
    takes_whole_last_stage = card.whole_last_stage and at_paper_site and blocks is None
    if at_paper_site and stages is None:
        stages = card.cifar_stages if is_cifar and card.cifar_stages else card.stages
    if at_paper_site and blocks is None:
        blocks = card.cifar_blocks if is_cifar and card.cifar_blocks else card.blocks
    selected = [
        b
        for b in structure.blocks
        if _is_among(b.stage, stages, structure.stage_count)
        and (
            (takes_whole_last_stage and b.stage == structure.stage_count)
            or _is_among(b.index, blocks, max(o.index for o in structure.blocks if o.stage == b.stage))
        )
    ]
    if not selected:
        raise UserError(
            f"model.stages={stages}, model.blocks={blocks}: no block of the network is left",
            f"it has {structure.stage_count} stages; both count from 1, or from the end with negative numbers",
        )
    return selected


def _check_numbers(option: str, chosen: Sequence[int] | None, count: int, where: str) -> None:
    """Raises UserError for numbers that a recipe names and nothing has."""
    unknown = [n for n in chosen or () if not 1 <= abs(n) <= count]
    if unknown:
        raise UserError(
            f"model.{option}: {', '.join(map(str, unknown))}: {where} has {count} {option}",
            "they count from 1, or from the end with negative numbers",
        )


def _is_among(position: int, chosen: Sequence[int] | None, count: int) -> bool:
    return chosen is None or position in chosen or position - count - 1 in chosen
