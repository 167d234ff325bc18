"""The gradients of a step, of the whole batch at once or of its parts one after the other (`train.accumulate`)."""

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler

from attncli.errors import UserError
from attncli.recipe import Train

GRAPH_MODES = ("reduce-overhead", "max-autotune")  # of torch.compile, whose CUDA graphs use their memory again


def check_accumulation(settings: Train, device: torch.device) -> None:
    """Raise UserError if the gradients of several parts cannot be added on this device.

    CUDA graphs of torch.compile leave the gradients of the first part in memory that the second part overwrites.
    """
    if settings.accumulate > 1 and settings.compile in GRAPH_MODES and device.type == "cuda":
        raise UserError(
            f"train.accumulate={settings.accumulate}: the CUDA graphs of train.compile={settings.compile} write the "
            "gradients of each part over those of the one before",
            "set train.compile=true, or leave train.accumulate out",
        )


def accumulate_gradients(
    objective: nn.Module, images: Tensor, labels: Tensor, scaler: GradScaler, parts: int
) -> Tensor:
    """Add the gradients of the mean loss of a batch to the parameters, and return that loss, a number on the device.

    With several parts the sum of their gradients is that of the whole batch, up to rounding, and only one part needs
    memory at a time. Batch norms see the parts: they normalise with each part's statistics, and their running
    statistics move once for each part. Several processes exchange gradients after the last part only.

    Args:
        objective: maps images and labels to the mean loss.
        images: (b, ...).
        labels: (b,) or (b, classes).
        scaler: of the loss, for fp16.
        parts: into how many equal parts the batch is divided; the last may be smaller.
    """
    if parts == 1:
        loss: Tensor = objective(images, labels)
        scaler.scale(loss).backward()
        return loss.detach()
    image_parts, label_parts = images.chunk(parts), labels.chunk(parts)
    losses = []
    for i, (part, part_labels) in enumerate(zip(image_parts, label_parts, strict=True), 1):
        with nullcontext() if i == len(image_parts) else _without_exchange(objective):
            loss = objective(part, part_labels) * (len(part) / len(images))
            scaler.scale(loss).backward()
        losses.append(loss.detach())
    return torch.stack(losses).sum()


def _without_exchange(objective: nn.Module) -> Any:
    """Return a context in which several processes keep their gradients to themselves."""
    no_sync = getattr(objective, "no_sync", nullcontext)
    return no_sync()
