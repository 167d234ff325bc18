"""One training step, and everything that it needs: training, profiling and timing take both from here.

So a step that is timed is the step that is trained: frozen parts, streams of mechanisms, memory layout, number format,
loss, accumulation, clipping, optimiser, moving average and CUDA graph.
"""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from attncli.recipe import Recipe, Train
from attncli.train import distributed, optim
from attncli.train.accumulation import accumulate_gradients, check_accumulation
from attncli.train.cpu_convolutions import speed_up_convolutions
from attncli.train.device import compile_network, convert_to_channels_last, uses_channels_last
from attncli.train.ema import Ema
from attncli.train.fine_tuning import freeze_parts
from attncli.train.loss import TrainingObjective, find_own_loss
from attncli.train.mechanism_streams import separate_mechanism_draws
from attncli.train.norm_counters import keep_norm_counters_on_host
from attncli.train.parameter_groups import group_parameters
from attncli.train.step_graph import StepGraph, make_step_graph
from attncli.train.sync_batch_norm import synced_batch_norm


@dataclass
class TrainingStep:
    """What a training step works with."""

    settings: Train
    device: torch.device
    processes: int  # that share the batch
    model: nn.Module
    objective: nn.Module  # network and loss, wrapped for several processes
    optimizer: Optimizer
    scaler: GradScaler
    ema: Ema | None
    graph: StepGraph | None  # runs the steps, if they are captured


def prepare_step(
    model: nn.Module,
    recipe: Recipe,
    size: tuple[int, int],
    device: torch.device,
    precision: str,
    *,
    processes: int = 1,
    class_weights: Tensor | None = None,
) -> TrainingStep:
    """Move `model` to the device, in place, give it the form in which it is trained, and return its training step.

    Args:
        model: maps images (b, 3, H, W) to logits (b, classes).
        recipe: of the training.
        size: (H, W) of the images.
        device: where it is trained.
        precision: as `resolve_precision` gives it.
        processes: that train it together; the caller wraps the objective for them.
        class_weights: (classes,), of the loss, or None.

    Raises:
        UserError: for unknown parts in `train.lr_factors`, or if none is left to train; for `train.graph=on` if the
            step cannot be a graph; if the parts of `train.accumulate` cannot be added on this device.
    """
    settings = recipe.train
    check_accumulation(settings, device)
    parts = freeze_parts(model, recipe, size)
    _prepare_model(model, settings, device, precision, processes)
    objective = TrainingObjective(
        model,
        smoothing=settings.label_smoothing,
        precision=precision,
        device=device,
        class_weights=class_weights,
        own_loss=find_own_loss(model, recipe.model.attn),
    )
    optimizer = optim.build_optimizer(group_parameters(model, settings, recipe.model.attn, parts), settings, device)
    return TrainingStep(
        settings=settings,
        device=device,
        processes=processes,
        model=model,
        objective=objective,
        optimizer=optimizer,
        scaler=GradScaler(device.type, enabled=precision == "fp16"),
        ema=Ema(model, settings.ema) if settings.ema is not None else None,
        graph=make_step_graph(recipe, model, optimizer, device, precision, processes),
    )


def _prepare_model(model: nn.Module, settings: Train, device: torch.device, precision: str, processes: int) -> None:
    """Move a network to its device and into training mode, and give it the form in which it trains fastest."""
    model.to(device).train()
    if not settings.compile:  # compiled code has no hooks
        separate_mechanism_draws(model, device)
    if uses_channels_last(settings, device):
        convert_to_channels_last(model)
    keep_norm_counters_on_host(model, settings.compile, processes)
    speed_up_convolutions(model, device, precision)
    compile_network(model, settings)


def run_training_step(
    step: TrainingStep, images: Tensor, labels: Tensor, *, learning_rate: float, seed: int, number: int
) -> Tensor:
    """Do one step of the optimiser and return its loss, a number on the device, which the next step may overwrite.

    Args:
        step: what it works with.
        images: (b, 3, H, W) or (b, T, 3, H, W).
        labels: (b,), or shares of the classes (b, classes).
        learning_rate: of parameters without a factor.
        seed: of the random numbers of this step.
        number: of the step, from 1, for the moving average.
    """
    optim.set_learning_rate(step.optimizer, learning_rate)
    distributed.seed_everything(seed, step.device)
    work = partial(_update_weights, step)
    loss = step.graph.run(work, images, labels) if step.graph else work(images, labels)
    if step.ema:
        step.ema.update_average(number)
    return loss


def _update_weights(step: TrainingStep, images: Tensor, labels: Tensor) -> Tensor:
    """Compute loss and gradients, clip them, and let the optimiser step. Return the loss, a number on the device."""
    parts = min(step.settings.accumulate, len(images))  # a batch that is timed may be smaller than the trained one
    with synced_batch_norm(step.processes):
        loss = accumulate_gradients(step.objective, images, labels, step.scaler, parts)
    if step.settings.clip_norm is not None:
        step.scaler.unscale_(step.optimizer)
        nn.utils.clip_grad_norm_(step.model.parameters(), step.settings.clip_norm)
    step.scaler.step(step.optimizer)
    step.scaler.update()
    step.optimizer.zero_grad(set_to_none=True)
    return loss
