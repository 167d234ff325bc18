"""The smallest images that a backbone takes: each of its stages but the last returns a map of more than one pixel.

torch is loaded only for images below `LARGE_ENOUGH`.
"""

from functools import lru_cache

from attncli import attention, backbones
from attncli.errors import UserError
from attncli.recipe import Model, Recipe
from attncli.recipe.image_size import format_image_size
from attncli.system.code_reference import is_code_reference

LARGE_ENOUGH = 32  # pixels, for every backbone of ours with any stem


def check_backbone_size(recipe: Recipe, size: tuple[int, int] | None) -> None:
    """Raise UserError if images of `size` (H, W) are too small for the backbone of a recipe; None is not checked.

    One pixel cannot be halved: a network that tries fails, or trains stages that see nothing but that pixel.
    Networks of users and of timm check sizes themselves, and a mechanism that is the whole network has no backbone.
    """
    model = recipe.model
    if size is None or min(size) >= LARGE_ENOUGH or _is_checked_elsewhere(model):
        return
    problem = _find_problem(model.backbone, model.stem, size)
    if problem is None:
        return
    sides = range(min(size) + 1, LARGE_ENOUGH + 1)
    smallest = next(side for side in sides if _find_problem(model.backbone, model.stem, (side, side)) is None)
    raise UserError(
        f"data.image_size: images of {format_image_size(size)} px are too small for {model.backbone}: {problem}",
        f"--image-size {smallest} is the smallest that it takes",
    )


def _is_checked_elsewhere(model: Model) -> bool:
    is_foreign = is_code_reference(model.backbone) or model.backbone.startswith(backbones.TIMM_PREFIX)
    return is_foreign or attention.is_whole_network(model.attn)


@lru_cache
def _find_problem(backbone: str, stem: str, size: tuple[int, int]) -> str | None:
    """Return why a backbone does not take images of a size, or None if it does."""
    import torch

    from attncli.backbones.surgery import trace_shapes
    from attncli.model import build_plain_network

    with torch.device("meta"):
        net, structure = build_plain_network(Model.model_validate({"backbone": backbone, "stem": stem}), 10, size)
    try:
        shapes = trace_shapes(net, size)
    except RuntimeError:  # a kernel or pool that is larger than its map
        return "it cannot halve its map as often as it is built to"
    for block in structure.blocks:
        if block.stage < structure.stage_count and shapes.get(block.path, ((), ()))[1][-2:] == (1, 1):
            return f"its stage {block.stage} of {structure.stage_count} returns a map of one pixel"
    return None
