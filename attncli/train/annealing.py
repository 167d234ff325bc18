"""Schedules of modules with a method `anneal(epoch)`, such as a temperature that falls over the first epochs."""

import torch
from torch import nn

LATE_EPOCH = 1_000_000  # at which every schedule is over


def anneal_modules(model: nn.Module, epoch: int) -> None:
    """Tell each module with a schedule which epoch begins, counted from 0."""
    for module in _list_annealed(model):
        module.anneal(epoch)  # type: ignore[operator]


def _list_annealed(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if callable(getattr(module, "anneal", None))]


@torch.no_grad()
def is_annealed_at_end(model: nn.Module, epochs: int) -> bool:
    """Return whether a schedule of a module is not over in the last of `epochs` epochs.

    To see that, modules are annealed for that epoch and a late one, and then for epoch 0, with their buffers as before.
    """
    return any(_changes_after(module, epochs - 1) for module in _list_annealed(model))


def _changes_after(module: nn.Module, epoch: int) -> bool:
    """Return whether the buffers of a module differ between an epoch and a late one."""
    buffers = dict(module.named_buffers())
    original_values = {name: buffer.clone() for name, buffer in buffers.items()}
    module.anneal(epoch)  # type: ignore[operator]
    values = {name: buffer.clone() for name, buffer in buffers.items()}
    module.anneal(LATE_EPOCH)  # type: ignore[operator]
    differs = any(not torch.equal(buffer, values[name]) for name, buffer in buffers.items())
    module.anneal(0)  # type: ignore[operator]
    for name, buffer in buffers.items():
        buffer.copy_(original_values[name])
    return differs
