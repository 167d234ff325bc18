"""Fine-tune parts of a network: factors of the learning rate by part, frozen parts with frozen batch norms."""

from itertools import chain
from types import MethodType

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from attncli.errors import UserError, unknown_name_error
from attncli.model import ClipNetwork, build_plain_network, find_mechanisms, resolve_model
from attncli.recipe import Recipe

ATTENTION, STEM, CLASSIFIER = "attention", "stem", "classifier"


def check_parts(net: nn.Module, recipe: Recipe, size: tuple[int, int]) -> dict[str, str] | None:
    """Return each parameter's and buffer's part, or None without factors in `train.lr_factors`.

    A plain network takes a factor of `attention` too, since it is trained and timed by its variants' recipe.
    Raises UserError for an unknown part, or if nothing is left to train.
    """
    factors = recipe.train.lr_factors
    if not factors:
        return None
    parts = find_parts(net, recipe, size)
    known_parts = list(dict.fromkeys(parts[name] for name, _ in net.named_parameters()))
    for name in factors:
        if name not in (*known_parts, ATTENTION):
            raise unknown_name_error("part", name, known_parts, location="train.lr_factors")
    if all(factors.get(parts[name]) == 0 for name, parameter in net.named_parameters() if parameter.requires_grad):
        raise UserError("train.lr_factors: every part is frozen", "leave one above 0")
    return parts


def freeze_parts(net: nn.Module, recipe: Recipe, size: tuple[int, int]) -> dict[str, str] | None:
    """Freeze the parts whose factor in `train.lr_factors` is 0. Return and raise what `check_parts` does.

    In the other parts a parameter that its module has fixed (`requires_grad=False`) stays so.
    """
    parts = check_parts(net, recipe, size)
    if parts is None:
        return None
    frozen_names = {name for name, part in parts.items() if recipe.train.lr_factors.get(part, 1.0) == 0}
    for name, parameter in net.named_parameters():
        if name in frozen_names:
            parameter.requires_grad_(False)
    for path, module in net.named_modules():
        if isinstance(module, _BatchNorm) and f"{path}.running_mean" in frozen_names:
            _freeze_statistics(module)
    return parts


def _freeze_statistics(norm: _BatchNorm) -> None:
    """Let a batch norm of any class use its running statistics and never change them, whatever the network does."""
    norm.train = MethodType(_stay_in_eval_mode, norm)  # type: ignore[method-assign]  # not of its class
    norm.eval()


def _stay_in_eval_mode(norm: nn.Module, mode: bool = True) -> nn.Module:
    """Take the place of a module's `train`, and leave it in eval mode."""
    return type(norm).train(norm, False)


def find_parts(net: nn.Module, recipe: Recipe, size: tuple[int, int]) -> dict[str, str]:
    """Return the part of each parameter and buffer of a recipe's network.

    The parts are stem, stage1, stage2, ..., classifier, attention. What belongs to no block is the stem if it stands
    before the first block, else the classifier. A mechanism that is the whole network is `attention`.
    """
    resolved = resolve_model(recipe)
    names = _list_tensor_names(net)
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


def _list_tensor_names(net: nn.Module) -> list[str]:
    """Return the names of a network's parameters and buffers, module by module in their order."""
    return [
        f"{path}.{name}" if path else name
        for path, module in net.named_modules()
        for name, _ in chain(module.named_parameters(recurse=False), module.named_buffers(recurse=False))
    ]
