"""Schedules of modules with a method `anneal(epoch)`, such as a temperature that falls over the first epochs."""

from collections.abc import Callable, Iterator

import torch
from torch import nn

LATE_EPOCH = 1_000_000  # at which every schedule is over


def anneal_modules(model: nn.Module, epoch: int) -> None:
    """Tell each module with a schedule which epoch begins, counted from 0."""
    for _, anneal in _iterate_schedules(model):
        anneal(epoch)


def _iterate_schedules(model: nn.Module) -> Iterator[tuple[nn.Module, Callable[[int], object]]]:
    """Yield each module that has a schedule, with its method `anneal`."""
    for module in model.modules():
        anneal = getattr(module, "anneal", None)
        if callable(anneal):
            yield module, anneal


@torch.no_grad()
def is_annealing_at_end(model: nn.Module, epochs: int) -> bool:
    """Return whether a schedule of a module still goes on in the last of `epochs` epochs.

    To see that, modules are annealed for that epoch and a late one, and then for epoch 0, with their buffers as before.
    """
    return any(_changes_after(module, anneal, epochs - 1) for module, anneal in _iterate_schedules(model))


def _changes_after(module: nn.Module, anneal: Callable[[int], object], epoch: int) -> bool:
    """Return whether the buffers of a module differ between an epoch and a late one."""
    buffers = dict(module.named_buffers())
    original_values = {name: buffer.clone() for name, buffer in buffers.items()}
    anneal(epoch)
    values = {name: buffer.clone() for name, buffer in buffers.items()}
    anneal(LATE_EPOCH)
    differs = any(not torch.equal(buffer, values[name]) for name, buffer in buffers.items())
    anneal(0)
    for name, buffer in buffers.items():
        buffer.copy_(original_values[name])
    return differs
