"""Count the parameters that each mechanism adds to two networks."""

from functools import cache

from attncli import attention, validation
from attncli.errors import UserError
from attncli.measure.cost import count_recipe_parameters
from attncli.model import InputSpec

FRAMES = 8
NETWORKS = {"resnet20": InputSpec(10, (32, 32)), "resnet50": InputSpec(1000, (224, 224))}


@cache
def count_network(backbone: str, attn: str) -> int | None:
    """Return the parameters of a network of `NETWORKS` with a mechanism, or None if the mechanism does not fit."""
    spec = NETWORKS[backbone]
    if attn != attention.NONE and attention.describe_mechanism(attn).needs_clips:
        spec = InputSpec(spec.classes, spec.size, FRAMES)
    try:
        return count_recipe_parameters(
            validation.read(None, [f"model.backbone={backbone}", f"model.attn={attn}"]), spec
        )
    except UserError:
        return None


def count_added(backbone: str, attn: str) -> int | None:
    """Return the parameters over the plain network; None for what does not fit and for a whole network."""
    count, plain = count_network(backbone, attn), count_network(backbone, attention.NONE)
    if count is None or plain is None or attention.is_whole_network(attn):
        return None
    return count - plain
