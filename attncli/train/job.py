"""What a training works with and where it is; made by `prepare` before the first step."""

from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import nn
from torch.amp.grad_scaler import GradScaler

from attncli.data.batches import steps_per_epoch
from attncli.data.dataset import Dataset
from attncli.errors import UserError
from attncli.model import parameter_groups
from attncli.recipe import Recipe
from attncli.train import optim, process, schedule
from attncli.train.checkpoint import State
from attncli.train.ema import Ema
from attncli.train.objective import Objective
from attncli.train.precision import resolve_precision
from attncli.train.progress import Progress


@dataclass
class Job:
    """What a training works with, and where it is."""

    dataset: Dataset
    recipe: Recipe
    folder: Path | None
    progress: Progress | None
    accelerator: Accelerator
    device: torch.device
    objective: nn.Module  # network and loss, wrapped for several processes
    state: State
    facts: dict[str, str]  # what a checkpoint must agree with
    steps: int  # of an epoch
    images: int  # of a step, all processes together
    look_at: float = 0.0  # clock of the last look
    save_at: float = 0.0  # clock of the last checkpoint, at first of the start
    save_s: float = 0.0  # seconds that it took
    began: float = 0.0  # clock at which the epoch under way would have begun without pauses
    pause: float = 0.0  # seconds that the last evaluation and checkpoint took

    @property
    def several(self) -> bool:
        """Whether other processes take part."""
        return self.accelerator.num_processes > 1


def check(recipe: Recipe, accelerator: Accelerator) -> str:
    """The number format that a recipe is trained in here. Raises UserError for settings that cannot be trained."""
    schedule.check(recipe.train)
    return resolve_precision(recipe.train.precision, process.device(accelerator))


def prepare(
    model: nn.Module,
    dataset: Dataset,
    recipe: Recipe,
    folder: Path | None,
    progress: Progress | None,
    accelerator: Accelerator,
) -> Job:
    """Everything a training needs, on its device. Raises UserError for what cannot be trained here."""
    settings, device = recipe.train, process.device(accelerator)
    precision = check(recipe, accelerator)
    images = min(settings.batch_size, len(dataset.train.labels))
    if images % accelerator.num_processes:
        raise UserError(
            f"train.batch_size: {images} images do not divide into {accelerator.num_processes} processes",
            f"a multiple of {accelerator.num_processes}",
        )
    if dataset.vary.mixes and callable(getattr(model, "loss", None)):
        raise UserError(
            f"data.mixup, data.cutmix: '{recipe.model.attn}' has a loss of its own, which takes one class an image",
            "leave them out",
        )
    model.to(device).train()
    if settings.channels_last:
        model.to(memory_format=torch.channels_last)
    if settings.compile:
        model.compile()
    objective = Objective(model, smoothing=settings.label_smoothing, precision=precision, device=device)
    steps = steps_per_epoch(dataset.train, settings.batch_size)
    state = State(
        model=model,
        optimizer=optim.build(parameter_groups(model, settings, recipe.model.attn), settings, device),
        scaler=GradScaler(device.type, enabled=precision == "fp16"),
        ema=Ema(model, settings.ema) if settings.ema is not None else None,
        losses=torch.zeros(steps, device=device),
    )
    return Job(
        dataset=dataset.to(device),
        recipe=recipe,
        folder=folder,
        progress=progress if accelerator.is_main_process else None,
        accelerator=accelerator,
        device=device,
        objective=_shared(objective, accelerator),
        state=state,
        facts={"recipe": recipe.digest(), "data": dataset.digest, "precision": precision},
        steps=steps,
        images=images,
    )


def _shared(objective: nn.Module, accelerator: Accelerator) -> nn.Module:
    """The objective whose gradients are averaged over the processes.

    Accelerate is not to place it: on CPUs it would copy all weights (to "cpu:0"), and the moving average lose them.
    """
    several = accelerator.num_processes > 1
    shared: nn.Module = accelerator.prepare_model(objective, device_placement=False) if several else objective
    return shared
