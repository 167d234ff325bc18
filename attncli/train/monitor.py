"""Check a training from time to time: its losses, its clock, its checkpoints, and whether to stop.

A check reads the losses of the steps since the last one and so waits for the device. Between checks nothing waits.
"""

import time

from attncli.errors import Interrupted
from attncli.system.signals import StopSignal
from attncli.train import checkpoint, distributed
from attncli.train.exchange_errors import AllRanksError
from attncli.train.progress import TrainingProgress
from attncli.train.session import TrainingSession

CHECK_S, CHECK_STEPS = 0.5, 10  # time between checks: by the clock in one process, by steps in several
SAVE_S = 600.0  # time between the checkpoints of a long epoch
SAVE_TIME_SHARE = 0.01  # share of the time that checkpoints between the epochs may take
BYTES_PER_S = 400e6  # assumed speed of writing, until a checkpoint has been written
LIGHT_BYTES = 1 << 20  # bytes of a checkpoint that is always cheap enough
RECENT_STEPS = 20  # steps whose mean loss is shown


def should_check(session: TrainingSession, stop: StopSignal) -> bool:
    """Return whether to check now; all processes of a run get the same answer."""
    if session.is_distributed:
        return session.state.step % CHECK_STEPS == 0
    return stop.is_set or time.perf_counter() - session.checked_at > CHECK_S


def check_training(session: TrainingSession, stop: StopSignal) -> None:
    """Read the losses, save if it is time, report. Raises Interrupted, RunFailedError."""
    reduce_losses(session)
    stop_clock(session)
    stop_requested, save_due = distributed.combine_flags(
        session.accelerator, stop.is_set, time.perf_counter() - session.saved_at > SAVE_S
    )
    if stop_requested or save_due:
        save_session(session)
    if stop_requested:
        session.accelerator.wait_for_everyone()  # a launcher kills the others when the first one ends
        raise make_interruption(session, stop)
    report_progress(session)
    start_clock(session)


def start_clock(session: TrainingSession) -> None:
    """Start the epoch's clock so that it continues from `state.epoch_seconds`."""
    now = time.perf_counter()
    session.epoch_started_at, session.checked_at = now - session.state.epoch_seconds, now
    session.saved_at = session.saved_at or now


def stop_clock(session: TrainingSession) -> None:
    """Store the epoch's training time so far. Call it after `reduce_losses`, which waits for the device."""
    session.state.epoch_seconds = time.perf_counter() - session.epoch_started_at


def reduce_losses(session: TrainingSession) -> None:
    """Average the losses since the last check over the processes. Raises AllRanksError if one is not finite."""
    new_losses = session.state.losses[session.state.checked_steps : session.state.step]
    if session.is_distributed:
        new_losses.copy_(distributed.average_over_ranks(session.accelerator, new_losses))
    values = new_losses.cpu()
    bad_steps = (~values.isfinite()).nonzero()
    if len(bad_steps):
        first_bad = int(bad_steps[0])
        raise AllRanksError(
            f"the loss is {values[first_bad].item()} at epoch {session.state.epoch + 1}, "
            f"step {session.state.checked_steps + first_bad + 1} of {session.epoch_steps}",
            "a smaller train.lr, train.warmup_epochs (cosine, step) or train.clip_norm may help",
        )
    session.state.checked_steps = session.state.step


def report_progress(session: TrainingSession) -> None:
    """Report the position, the speed, the time left and the loss to the listener."""
    state = session.state
    if session.progress is None or not state.step:
        return
    epochs = session.recipe.train.epochs
    steps_left = (epochs - state.epoch) * session.epoch_steps - state.step
    session.progress(
        TrainingProgress(
            epoch=state.epoch + 1,
            epochs=epochs,
            step=state.step,
            steps=session.epoch_steps,
            images_per_s=state.step * session.step_images / state.epoch_seconds,
            seconds_left=steps_left * state.epoch_seconds / state.step + (epochs - state.epoch) * session.pause_seconds,
            loss=float(state.losses[max(0, state.step - RECENT_STEPS) : state.step].mean()),
        )
    )


def save_session(session: TrainingSession) -> None:
    """Write a checkpoint in the first process, if there is a folder for it."""
    started_at = time.perf_counter()
    if session.folder and session.accelerator.is_main_process:
        checkpoint.save_checkpoint(session.folder, session.state, session.identity)
    session.saved_at = time.perf_counter()
    session.save_seconds = session.saved_at - started_at


def save_after_epoch(session: TrainingSession) -> None:
    """Write a checkpoint after an epoch: always after the last, after others if that costs at most 1 % of the time.

    Any checkpoint leads to the same bits, so after a kill an older one costs only time.
    """
    checkpoint_bytes = checkpoint.count_checkpoint_bytes(session.state)
    expected_seconds = (
        max(checkpoint_bytes / BYTES_PER_S, session.save_seconds) if checkpoint_bytes > LIGHT_BYTES else 0.0
    )
    is_last_epoch = session.state.epoch == session.recipe.train.epochs
    if is_last_epoch or time.perf_counter() - session.saved_at >= expected_seconds / SAVE_TIME_SHARE:
        save_session(session)


def make_interruption(session: TrainingSession, stop: StopSignal) -> Interrupted:
    """Return an error that says what happened and how to resume."""
    state = session.state
    position = f"after epoch {state.epoch}" if not state.step else f"at epoch {state.epoch + 1}, step {state.step}"
    return Interrupted(
        f"stopped by {stop.signal_name or 'another process'} {position}",
        "the same command resumes from here" if session.folder else "without a folder there is nothing to resume from",
    )
