"""The training loop: a generator of Epoch records that knows no tracker, no command and no report.

    for epoch in train(model, dataset, recipe, folder=runs / digest): log(epoch)

Nothing in it waits for the device but a look twice a second (`look.py`). Every random number comes from
(seed, name, epoch, step), so a resumed training needs no generator's state.
"""

import time
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from attncli.data.batches import train_batches
from attncli.data.dataset import Dataset
from attncli.recipe import Recipe
from attncli.records import Epoch, Evaluation
from attncli.streams import stream
from attncli.train import checkpoint, optim, process, schedule
from attncli.train.evaluation import evaluate
from attncli.train.job import Job, prepare
from attncli.train.look import due, interrupted, look, save_epoch, settle, start_clock, stop_clock, tell
from attncli.train.norm import whole_batch
from attncli.train.progress import Progress
from attncli.train.stop import Stop, stopping
from attncli.train.trouble import plainly


def train(
    model: nn.Module,
    dataset: Dataset,
    recipe: Recipe,
    *,
    folder: Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    accelerator: Accelerator | None = None,
) -> Iterator[Epoch]:
    """Train `model` in place and yield a record an epoch; afterwards it holds the weights to evaluate (EMA's if set).

    `folder` gets the checkpoints: after epochs, as long as they cost a hundredth of the time, at the end, and on being
    stopped. With `resume` the training goes on from there, bit for bit on the same machine, and the epochs done before
    are yielded again first, so that a listener always hears the whole story; without a checkpoint it begins at the
    beginning.

    Raises Interrupted after Ctrl-C or SIGTERM, RunFailedError for a loss that is no number, a full disk or too little
    memory, UserError for a recipe that cannot be trained here or a checkpoint that is not this run's.
    """
    with stopping() as stop, plainly(recipe.train):
        job = prepare(model, dataset, recipe, folder, progress, accelerator or process.start())
        if folder and resume:
            checkpoint.load(folder, job.state, job.facts, partial(process.share, job.accelerator))
        elif folder and job.accelerator.is_main_process:
            checkpoint.clear(folder)
        yield from tuple(job.state.epochs)
        while job.state.epoch < recipe.train.epochs:
            yield run_epoch(job, stop)
        if process.agree(job.accelerator, stop.asked)[0]:
            raise interrupted(job, stop)
    if job.state.ema:
        job.state.ema.swap()


def run_epoch(job: Job, stop: Stop) -> Epoch:
    """Train the rest of the epoch under way, evaluate, save. Raises Interrupted, RunFailedError."""
    state, device = job.state, job.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    start_clock(job)
    for images, labels in batches(job):
        if due(job, stop):
            look(job, stop)
        step(job, images, labels)
    settle(job)
    stop_clock(job)
    tell(job)
    paused = time.perf_counter()
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    record = account(job, validate(job), peak)
    state.next_epoch(record)
    save_epoch(job)
    job.pause = time.perf_counter() - paused
    return record


def batches(job: Job) -> Iterator[tuple[Tensor, Tensor]]:
    """This process's share of the batches that are left of the epoch under way."""
    for module in job.state.model.modules():
        anneal = getattr(module, "anneal", None)
        if callable(anneal):
            anneal(job.state.epoch)
    return train_batches(
        job.dataset.train,
        job.dataset,
        batch_size=job.recipe.train.batch_size,
        seed=job.recipe.seed,
        epoch=job.state.epoch,
        first_step=job.state.step,
        device=job.device,
        channels_last=job.recipe.train.channels_last,
        rank=job.accelerator.process_index,
        world=job.accelerator.num_processes,
    )


def step(job: Job, images: Tensor, labels: Tensor) -> None:
    """One step of the optimiser: images (b, 3, H, W) or (b, T, 3, H, W), labels (b,)."""
    state, settings = job.state, job.recipe.train
    place = state.epoch * job.steps + state.step
    optim.set_rate(state.optimizer, schedule.rate(settings, place, job.steps))
    draws = stream(job.recipe.seed, "dropout", state.epoch, state.step, job.accelerator.process_index)
    process.seed_everything(draws, job.device)
    with whole_batch(job.accelerator.num_processes):
        loss = job.objective(images, labels)
    state.scaler.scale(loss).backward()
    if settings.clip_norm is not None:
        state.scaler.unscale_(state.optimizer)
        nn.utils.clip_grad_norm_(state.model.parameters(), settings.clip_norm)
    state.scaler.step(state.optimizer)
    state.scaler.update()
    state.optimizer.zero_grad(set_to_none=True)
    if state.ema:
        state.ema.update(place + 1)
    state.losses[state.step] = loss.detach()
    state.step += 1


def validate(job: Job) -> Evaluation | None:
    """The validation part evaluated with the weights that count, None where there is no such part."""
    state, val = job.state, job.dataset.val
    with state.ema.applied() if state.ema else nullcontext():
        process.share_buffers(job.accelerator, state.model)
        if val is None:
            return None
        return evaluate(state.model, val, job.dataset, job.recipe, name="val", accelerator=job.accelerator)


def account(job: Job, val: Evaluation | None, peak: int | None) -> Epoch:
    """The record of the epoch whose steps are done; `peak` in bytes."""
    state = job.state
    last = (state.epoch + 1) * job.steps - 1
    return Epoch(
        epoch=state.epoch + 1,
        train_loss=state.losses.cpu().double().mean().item(),
        lr=schedule.rate(job.recipe.train, last, job.steps),
        train_images_per_s=job.steps * job.images / state.seconds,
        train_seconds=state.seconds,
        val_loss=val.loss if val else None,
        val_top1=val.top1 if val else None,
        val_top5=val.top5 if val else None,
        peak_memory_bytes=peak,
    )
