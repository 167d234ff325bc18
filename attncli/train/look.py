"""Looking at a training from time to time: its losses, its clock, its checkpoints, and whether to stop.

A look reads the losses of the steps since the last one and so waits for the device; between looks nothing does.
"""

import time

from attncli.train import checkpoint, process
from attncli.train.job import Job
from attncli.train.progress import Step
from attncli.train.stop import Interrupted, Stop

LOOK_S, LOOK_STEPS = 0.5, 10  # a look comes this often: by the clock in one process, by steps in several
SAVE_S = 600.0  # a long epoch is saved this often
SHARE = 0.01  # of the time may go into the checkpoints between the epochs
BYTES_PER_S = 400e6  # a checkpoint is written about this fast, until one has been
LIGHT = 1 << 20  # bytes of a checkpoint that is worth no thought
RECENT = 20  # steps whose mean loss is shown


def due(job: Job, stop: Stop) -> bool:
    """Whether to look now; several processes must come to the same answer."""
    if job.several:
        return job.state.step % LOOK_STEPS == 0
    return stop.asked or time.perf_counter() - job.look_at > LOOK_S


def look(job: Job, stop: Stop) -> None:
    """Read the losses, save where it is time, report. Raises Interrupted, RunFailedError."""
    settle(job)
    stop_clock(job)
    asked, late = process.agree(job.accelerator, stop.asked, time.perf_counter() - job.save_at > SAVE_S)
    if asked or late:
        save(job)
    if asked:
        job.accelerator.wait_for_everyone()  # a launcher kills the others when the first one ends
        raise interrupted(job, stop)
    tell(job)
    start_clock(job)


def start_clock(job: Job) -> None:
    """Count training time on from `state.seconds`."""
    now = time.perf_counter()
    job.began, job.look_at = now - job.state.seconds, now
    job.save_at = job.save_at or now


def stop_clock(job: Job) -> None:
    """Note the training time of the epoch so far (after the device has come to rest: `settle` waits for it)."""
    job.state.seconds = time.perf_counter() - job.began


def settle(job: Job) -> None:
    """Average the losses since the last look over the processes; CommonError at the first that is no number."""
    fresh = job.state.losses[job.state.read : job.state.step]
    if job.several:
        fresh.copy_(process.mean(job.accelerator, fresh))
    values = fresh.cpu()
    bad = (~values.isfinite()).nonzero()
    if len(bad):
        first = int(bad[0])
        raise process.CommonError(
            f"the loss is {values[first].item()} at epoch {job.state.epoch + 1}, "
            f"step {job.state.read + first + 1} of {job.steps}",
            "a smaller train.lr, train.warmup_epochs (cosine, step) or train.clip_norm may help",
        )
    job.state.read = job.state.step


def tell(job: Job) -> None:
    """Give the listener the place, the speed, the time left and the loss."""
    state = job.state
    if job.progress is None or not state.step:
        return
    epochs = job.recipe.train.epochs
    left = (epochs - state.epoch) * job.steps - state.step
    job.progress(
        Step(
            epoch=state.epoch + 1,
            epochs=epochs,
            step=state.step,
            steps=job.steps,
            images_per_s=state.step * job.images / state.seconds,
            seconds_left=left * state.seconds / state.step + (epochs - state.epoch) * job.pause,
            loss=float(state.losses[max(0, state.step - RECENT) : state.step].mean()),
        )
    )


def save(job: Job) -> None:
    """Write a checkpoint, by the first process, where there is a folder for it."""
    began = time.perf_counter()
    if job.folder and job.accelerator.is_main_process:
        checkpoint.save(job.folder, job.state, job.facts)
    job.save_at = time.perf_counter()
    job.save_s = job.save_at - began


def save_epoch(job: Job) -> None:
    """Write a checkpoint after an epoch: the last one always, others as long as they cost a hundredth of the time.

    Any checkpoint leads to the same bits, so an older one costs a killed training time and nothing else.
    """
    size = checkpoint.size(job.state)
    cost = max(size / BYTES_PER_S, job.save_s) if size > LIGHT else 0.0
    last = job.state.epoch == job.recipe.train.epochs
    if last or time.perf_counter() - job.save_at >= cost / SHARE:
        save(job)


def interrupted(job: Job, stop: Stop) -> Interrupted:
    """What happened and how to go on."""
    state = job.state
    where = f"after epoch {state.epoch}" if not state.step else f"at epoch {state.epoch + 1}, step {state.step}"
    return Interrupted(
        f"stopped by {stop.signal or 'another process'} {where}",
        "`--resume` goes on from here" if job.folder else "without a folder there is nothing to go on from",
    )
