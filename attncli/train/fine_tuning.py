"""Fine-tune parts of a network: factors of the learning rate by part, frozen parts with frozen batch norms."""

import torch
from torch import nn

from attncli.errors import UserError, unknown_name_error
from attncli.model import ClipNetwork, build_plain_network, find_mechanisms, resolve_model
from attncli.recipe import Recipe

ATTENTION, STEM, CLASSIFIER = "attention", "stem", "classifier"


class FrozenBatchNorm(nn.BatchNorm2d):
    """A batch norm that always uses its running statistics and never changes them."""

    def train(self, mode: bool = True) -> "FrozenBatchNorm":
        """Stay in eval mode, whatever the network does."""
        super().train(False)
        return self


def check_parts(net: nn.Module, recipe: Recipe, size: tuple[int, int]) -> dict[str, str] | None:
    """Return each parameter's part, or None without factors in `train.lr_factors`.

    A plain network takes a factor of `attention` too, since it is trained and timed by its variants' recipe.
    Raises UserError for an unknown part, or if nothing is left to train.
    """
    factors = recipe.train.lr_factors
    if not factors:
        return None
    parts = find_parts(net, recipe, size)
    known_parts = list(dict.fromkeys(parts.values()))
    for name in factors:
        if name not in (*known_parts, ATTENTION):
            raise unknown_name_error("part", name, known_parts, location="train.lr_factors")
    if all(factors.get(part) == 0 for part in known_parts):
        raise UserError("train.lr_factors: every part is frozen", "leave one above 0")
    return parts


def freeze_parts(net: nn.Module, recipe: Recipe, size: tuple[int, int]) -> dict[str, str] | None:
    """Freeze the parts whose factor in `train.lr_factors` is 0. Return and raise what `check_parts` does."""
    parts = check_parts(net, recipe, size)
    if parts is None:
        return None
    frozen_names = {name for name, part in parts.items() if recipe.train.lr_factors.get(part, 1.0) == 0}
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(name not in frozen_names)
    for path, module in net.named_modules():
        if type(module) is nn.BatchNorm2d and f"{path}.weight" in frozen_names:
            module.__class__ = FrozenBatchNorm
            module.eval()
    return parts


def find_parts(net: nn.Module, recipe: Recipe, size: tuple[int, int]) -> dict[str, str]:
    """Return the part of each parameter of a recipe's network: stem, stage1, stage2, ..., classifier, attention.

    What belongs to no block is the stem if it stands before the first block, else the classifier. A mechanism that is
    the whole network is `attention`.
    """
    resolved = resolve_model(recipe)
    names: list[str] = [name for name, _ in net.named_parameters()]
    if resolved.family is None:
        return dict.fromkeys(names, ATTENTION)
    with torch.device("meta"):
        _, structure = build_plain_network(recipe.model, 2, size)
    root = "net." if isinstance(net, ClipNetwork) else ""
    mechanisms = tuple(f"{path}." for path in find_mechanisms(net))
    parts, last_part = {}, STEM
    for name in names:
        stage = structure.find_stage(name.removeprefix(root))
        if stage is not None:
            last_part = CLASSIFIER  # for whatever follows the blocks
        parts[name] = ATTENTION if name.startswith(mechanisms) else f"stage{stage}" if stage else last_part
    return parts
