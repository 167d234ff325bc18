"""The objects and the state of a training, made by `prepare_session` before the first step."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from attncli.data.dataset import Dataset
from attncli.data.loader import count_epoch_steps
from attncli.errors import UserError
from attncli.quantities import format_quantity
from attncli.recipe import Recipe
from attncli.train import distributed, lr_schedule
from attncli.train.accumulation import check_accumulation
from attncli.train.checkpoint import TrainingState
from attncli.train.fine_tuning import check_parts
from attncli.train.loss import balance_classes, find_own_loss
from attncli.train.precision import resolve_precision
from attncli.train.progress import ProgressListener
from attncli.train.safetensors_io import DTYPES as SAVED_TYPES
from attncli.train.step_graph import check_graph
from attncli.train.training_step import TrainingStep, prepare_step


@dataclass
class TrainingSession:
    """The objects that a training works with, and its state."""

    dataset: Dataset
    recipe: Recipe
    folder: Path | None
    progress: ProgressListener | None
    accelerator: Accelerator
    device: torch.device
    step: TrainingStep  # with the objects of the state
    state: TrainingState
    identity: dict[str, str]  # what a checkpoint must agree with
    epoch_steps: int  # per epoch
    step_images: int  # per step, all processes together
    checked_at: float = 0.0  # clock of the last check
    saved_at: float = 0.0  # clock of the last checkpoint, or of the start
    save_seconds: float = 0.0  # seconds that it took
    epoch_started_at: float = 0.0  # clock at which the current epoch would have begun without pauses
    pause_seconds: float = 0.0  # seconds that the last evaluation and checkpoint took
    has_tried_kernels: bool = False  # whether this process has done a step, in which cuDNN tries its kernels

    @property
    def is_distributed(self) -> bool:
        """Whether other processes take part."""
        return self.accelerator.num_processes > 1


def check_trainable(recipe: Recipe, accelerator: Accelerator) -> str:
    """Return the number format that a recipe is trained in on this device. Raises UserError if it cannot be trained."""
    lr_schedule.check_schedule(recipe.train)
    device = distributed.resolve_device(accelerator)
    check_accumulation(recipe.train, device)
    precision = resolve_precision(recipe.train.precision, device)
    check_graph(recipe, device, precision, accelerator.num_processes)
    return precision


def check_network(model: nn.Module, dataset: Dataset, recipe: Recipe, processes: int) -> None:
    """Raise UserError if this network cannot be trained by this recipe on these images with so many processes."""
    settings = recipe.train
    step_images = min(settings.batch_size, len(dataset.train.labels))
    if step_images % processes:
        raise UserError(
            f"train.batch_size: {format_quantity(step_images, 'image')} cannot be divided over {processes} processes",
            f"use a multiple of {processes}",
        )
    own_images = step_images // processes
    if settings.accumulate > own_images:
        raise UserError(
            f"train.accumulate: {settings.accumulate} parts of a batch of {format_quantity(own_images, 'image')}",
            f"use at most {own_images}, or a larger train.batch_size",
        )
    _refuse_unsaved_types(model)
    if find_own_loss(model, recipe.model.attn):
        _refuse_own_loss(dataset, recipe)
    check_parts(model, recipe, dataset.size)


def _refuse_unsaved_types(model: nn.Module) -> None:
    """Raise UserError for a parameter or buffer of a number format that checkpoints cannot hold."""
    for name, value in model.state_dict().items():
        if isinstance(value, Tensor) and value.dtype not in SAVED_TYPES:
            raise UserError(
                f"{name}: a checkpoint cannot hold {value.dtype}",
                "use another format, such as complex64 or float32; register_buffer(..., persistent=False) is not saved",
            )


def _refuse_own_loss(dataset: Dataset, recipe: Recipe) -> None:
    """Raise UserError for settings that a network with its own loss cannot follow."""
    if dataset.augmentation.has_mixing:
        raise UserError(
            f"data.mixup, data.cutmix: '{recipe.model.attn}' has its own loss, which takes one class per image",
            "leave data.mixup and data.cutmix out",
        )
    if recipe.train.class_weights != "none":
        raise UserError(
            f"train.class_weights: '{recipe.model.attn}' has its own loss, which takes no weights", "leave it out"
        )


def _choose_class_weights(recipe: Recipe, dataset: Dataset) -> Tensor | None:
    """Return the weights of the classes in the loss, or None."""
    if recipe.train.class_weights == "none":
        return None
    return balance_classes(dataset.train.labels.cpu(), len(dataset.classes))


def prepare_session(
    model: nn.Module,
    dataset: Dataset,
    recipe: Recipe,
    folder: Path | None,
    progress: ProgressListener | None,
    accelerator: Accelerator,
) -> TrainingSession:
    """Return everything that a training needs, on its device. Raises UserError for what cannot be trained here."""
    settings, device = recipe.train, distributed.resolve_device(accelerator)
    precision = check_trainable(recipe, accelerator)
    distributed.choose_kernels(device, precision, deterministic=settings.deterministic)
    check_network(model, dataset, recipe, accelerator.num_processes)
    step = prepare_step(
        model,
        recipe,
        dataset.size,
        device,
        precision,
        processes=accelerator.num_processes,
        class_weights=_choose_class_weights(recipe, dataset),
    )
    step.objective = _wrap_for_ranks(step.objective, accelerator)
    epoch_steps = count_epoch_steps(dataset.train, settings.batch_size)
    state = TrainingState(
        model=model,
        optimizer=step.optimizer,
        scaler=step.scaler,
        ema=step.ema,
        losses=torch.zeros(epoch_steps, device=device),
    )
    return TrainingSession(
        dataset=dataset.to(device),
        recipe=recipe,
        folder=folder,
        progress=progress if accelerator.is_main_process else None,
        accelerator=accelerator,
        device=device,
        step=step,
        state=state,
        identity={"recipe": recipe.compute_digest(), "data": dataset.digest, "precision": precision},
        epoch_steps=epoch_steps,
        step_images=min(settings.batch_size, len(dataset.train.labels)),
    )


def _wrap_for_ranks(objective: nn.Module, accelerator: Accelerator) -> nn.Module:
    """Return the objective whose gradients are averaged over the processes.

    Accelerate must not move it: on CPUs it would copy all weights to "cpu:0", and the moving average would lose them.
    """
    if accelerator.num_processes == 1:
        return objective
    with warnings.catch_warnings():  # torch 2.14 renames it; Accelerate knows only the old name
        warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
        wrapped: nn.Module = accelerator.prepare_model(objective, device_placement=False)
    return wrapped
