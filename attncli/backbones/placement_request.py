"""What decides where a mechanism goes in a network: the site and the blocks of a recipe, or else those of its card."""

from collections.abc import Sequence
from dataclasses import dataclass

from attncli.attention import Mechanism
from attncli.backbones.sites import BUILT_IN
from attncli.backbones.structure import BlockPaths, NetworkStructure
from attncli.errors import UserError


@dataclass(frozen=True)
class PlacementRequest:
    """What decides where a mechanism goes in a network.

    `paper_site` is the site of its paper in this network (`backbones.get_paper_site`). `site`, `stages` and `blocks`
    of a recipe move it elsewhere; None leaves it there. With `replace` it takes the place of the attention of that
    name that the network has built in. `size` is (H, W) of the images, `frames` the length of clips.
    """

    mechanism: Mechanism
    paper_site: str
    size: tuple[int, int]
    classes: int
    frames: int | None = None
    site: str | None = None
    stages: Sequence[int] | None = None
    blocks: Sequence[int] | None = None
    replace: str | None = None

    @property
    def chosen_site(self) -> str:
        """The site where the mechanism goes."""
        return f"{BUILT_IN}{self.replace}" if self.replace else self.site or self.paper_site


def select_blocks(structure: NetworkStructure, request: PlacementRequest) -> list[BlockPaths]:
    """Return the blocks that a recipe names, or else those of the mechanism's card.

    Raises UserError for a stage or block that the network lacks, or if no block is left.
    """
    mechanism, stages, blocks = request.mechanism, request.stages, request.blocks
    if structure.unclear:
        raise UserError(f"model.attn: '{mechanism.name}': {structure.unclear.problem}", structure.unclear.hint)
    if not structure.blocks:
        raise UserError(
            f"model.attn: '{mechanism.name}': the network has no blocks with spatial convolutions to put it in"
            + (f"; it has {structure.remarks}" if structure.remarks else ""),
            "use it with --attn none; `attncli help backbones` says how blocks are found",
        )
    _check_numbers("stages", stages, structure.stage_count, "the network")
    _check_numbers("blocks", blocks, max(b.index for b in structure.blocks), "its longest stage")
    card, is_cifar = mechanism.card, structure.stage_count == 3
    at_paper_site = request.chosen_site == request.paper_site
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


def _check_numbers(option: str, chosen: Sequence[int] | None, count: int, owner: str) -> None:
    """Raise UserError for numbers in a recipe that the network does not have."""
    unknown = [n for n in chosen or () if not 1 <= abs(n) <= count]
    if unknown:
        raise UserError(
            f"model.{option}: {', '.join(map(str, unknown))}: {owner} has {count} {option}",
            "they count from 1, or from the end with negative numbers",
        )


def _is_among(position: int, chosen: Sequence[int] | None, count: int) -> bool:
    return chosen is None or position in chosen or position - count - 1 in chosen
