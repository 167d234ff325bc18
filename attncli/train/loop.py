"""The training loop: a generator of Epoch records that knows no tracker, no command and no report.

    for epoch in train_model(model, dataset, recipe, folder=runs / digest): log(epoch)

Nothing in it waits for the device except a check twice per second (`monitor.py`). Every random number comes from
(seed, name, epoch, step), so a resumed training needs no generator's state.
"""

import time
from collections.abc import Generator, Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from attncli.data.dataset import Dataset
from attncli.data.loader import BatchLayout, iterate_train_batches
from attncli.recipe import Recipe
from attncli.records import Epoch, Evaluation
from attncli.seeds import derive_seed
from attncli.system.signals import StopSignal, training_stop_signal
from attncli.train import checkpoint, distributed, lr_schedule
from attncli.train.annealing import anneal_modules
from attncli.train.device import uses_channels_last
from attncli.train.errors import translated_torch_errors
from attncli.train.evaluation import evaluate_split
from attncli.train.monitor import (
    check_training,
    make_interruption,
    reduce_losses,
    report_progress,
    save_after_epoch,
    should_check,
    start_clock,
    stop_clock,
)
from attncli.train.progress import ProgressListener
from attncli.train.session import TrainingSession, prepare_session
from attncli.train.training_step import run_training_step


def train_model(
    model: nn.Module,
    dataset: Dataset,
    recipe: Recipe,
    *,
    folder: Path | None = None,
    resume: bool = False,
    progress: ProgressListener | None = None,
    accelerator: Accelerator | None = None,
) -> Generator[Epoch, None, None]:
    """Train `model` in place and yield one record per epoch. It ends with the weights to evaluate (EMA's if set).

    Whoever leaves it early closes it (`contextlib.closing`): until then Ctrl-C only asks the training to stop.

    Args:
        folder: gets the checkpoints: after epochs while they cost at most 1 % of the time, at the end, and if the
            training is stopped; None means no checkpoints.
        resume: continue from the checkpoint, bit for bit on the same machine, and first yield the records of the
            epochs done before; without a checkpoint the training starts from the beginning.
        progress: is called about twice per second.
        accelerator: the processes and the device; None makes one.

    Raises:
        Interrupted: after Ctrl-C or SIGTERM.
        RunFailedError: the loss is not finite, the disk is full, or memory runs out.
        UserError: the recipe cannot be trained here, or the checkpoint is not this run's.
    """
    with training_stop_signal() as stop, translated_torch_errors(recipe.train):
        session = prepare_session(
            model, dataset, recipe, folder, progress, accelerator or distributed.init_accelerator()
        )
        if folder and resume:
            checkpoint.load_checkpoint(
                folder, session.state, session.identity, partial(distributed.broadcast_from_main, session.accelerator)
            )
        elif folder and session.accelerator.is_main_process:
            checkpoint.clear_checkpoint(folder)
        yield from tuple(session.state.epoch_records)
        while session.state.epoch < recipe.train.epochs:
            yield run_epoch(session, stop)
        if distributed.combine_flags(session.accelerator, stop.is_set)[0]:
            raise make_interruption(session, stop)
    if session.state.ema:
        session.state.ema.swap_weights()


def run_epoch(session: TrainingSession, stop: StopSignal) -> Epoch:
    """Train the rest of the current epoch, evaluate, and save a checkpoint if it is time for one; return its record.

    Raises:
        Interrupted: after Ctrl-C or SIGTERM.
        RunFailedError: the loss is not finite.
    """
    state, device = session.state, session.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    start_clock(session)
    anneal_modules(state.model, state.epoch)
    for images, labels in iterate_batches(session):
        if should_check(session, stop):
            check_training(session, stop)
        run_step(session, images, labels)
        forget_kernel_trials(session)
    reduce_losses(session)
    stop_clock(session)
    report_progress(session)
    if session.step.graph:
        session.step.graph.discard()
    pause_started_at = time.perf_counter()
    peak_bytes = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    record = make_epoch_record(session, validate_epoch(session), peak_bytes)
    state.finish_epoch(record)
    save_after_epoch(session)
    session.pause_seconds = time.perf_counter() - pause_started_at
    return record


def iterate_batches(session: TrainingSession) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield this process's share of the batches that are left of the current epoch."""
    return iterate_train_batches(
        session.dataset.train,
        session.dataset,
        BatchLayout(
            batch_size=session.recipe.train.batch_size,
            device=session.device,
            channels_last=uses_channels_last(session.recipe.train, session.device),
            rank=session.accelerator.process_index,
            world=session.accelerator.num_processes,
        ),
        seed=session.recipe.seed,
        epoch=session.state.epoch,
        first_step=session.state.step,
        balanced=session.recipe.train.sampling == "balanced",
    )


def run_step(session: TrainingSession, images: Tensor, labels: Tensor) -> None:
    """Do one step of the optimiser: images (b, 3, H, W) or (b, T, 3, H, W), labels (b,)."""
    state = session.state
    global_step = state.epoch * session.epoch_steps + state.step
    state.losses[state.step] = run_training_step(
        session.step,
        images,
        labels,
        learning_rate=lr_schedule.learning_rate_at(session.recipe.train, global_step, session.epoch_steps),
        seed=derive_seed(session.recipe.seed, "dropout", state.epoch, state.step, session.accelerator.process_index),
        number=global_step + 1,
    )
    state.step += 1


def forget_kernel_trials(session: TrainingSession) -> None:
    """After the first step of this process, leave the memory in which cuDNN tried its kernels out of the peak.

    The only step that is left of an epoch stays in it.
    """
    if session.device.type == "cuda" and not session.has_tried_kernels and session.state.step < session.epoch_steps:
        torch.cuda.reset_peak_memory_stats(session.device)
    session.has_tried_kernels = True


def validate_epoch(session: TrainingSession) -> Evaluation | None:
    """Evaluate the validation part with the weights to evaluate, or return None if there is no such part."""
    state, val = session.state, session.dataset.val
    with state.ema.applied_average() if state.ema else nullcontext():
        distributed.broadcast_buffers(session.accelerator, state.model)
        if val is None:
            return None
        return evaluate_split(
            state.model, val, session.dataset, session.recipe, name="val", accelerator=session.accelerator
        )


def make_epoch_record(session: TrainingSession, val: Evaluation | None, peak_bytes: int | None) -> Epoch:
    """Return the record of the epoch whose steps are done; `peak_bytes` in bytes."""
    state = session.state
    last_step = (state.epoch + 1) * session.epoch_steps - 1
    return Epoch(
        epoch=state.epoch + 1,
        train_loss=state.losses.cpu().double().mean().item(),
        lr=lr_schedule.learning_rate_at(session.recipe.train, last_step, session.epoch_steps),
        train_images_per_s=session.epoch_steps * session.step_images / state.epoch_seconds,
        train_seconds=state.epoch_seconds,
        val_loss=val.loss if val else None,
        val_top1=val.top1 if val else None,
        val_top5=val.informative_top5 if val else None,
        val_nonfinite=val.count_nonfinite() if val else 0,
        peak_memory_bytes=peak_bytes,
    )
