"""Looking at a training from time to time: its losses, its clock, its checkpoints, and whether to stop.

A look reads the losses of the steps since the last one and so waits for the device; between looks nothing does.
"""

import time

from attncli.errors import Interrupted
from attncli.system.signals import StopSignal
from attncli.train import checkpoint, distributed
from attncli.train.progress import TrainingProgress
from attncli.train.session import TrainingSession

CHECK_S, CHECK_STEPS = 0.5, 10  # a look comes this often: by the clock in one process, by steps in several
SAVE_S = 600.0  # a long epoch is saved this often
SAVE_TIME_SHARE = 0.01  # of the time may go into the checkpoints between the epochs
BYTES_PER_S = 400e6  # a checkpoint is written about this fast, until one has been
LIGHT_BYTES = 1 << 20  # bytes of a checkpoint that is worth no thought
RECENT_STEPS = 20  # steps whose mean loss is shown


def should_check(session: TrainingSession, stop: StopSignal) -> bool:
    """Whether to look now; several processes must come to the same answer."""
    if session.is_distributed:
        return session.state.step % CHECK_STEPS == 0
    return stop.is_set or time.perf_counter() - session.checked_at > CHECK_S


def check_training(session: TrainingSession, stop: StopSignal) -> None:
    """Read the losses, save where it is time, report. Raises Interrupted, RunFailedError."""
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
    """Count training time on from `state.seconds`."""
    now = time.perf_counter()
    session.epoch_started_at, session.checked_at = now - session.state.epoch_seconds, now
    session.saved_at = session.saved_at or now


def stop_clock(session: TrainingSession) -> None:
    """Note the training time of the epoch so far (after the device has come to rest: `reduce_losses` waits for it)."""
    session.state.epoch_seconds = time.perf_counter() - session.epoch_started_at


def reduce_losses(session: TrainingSession) -> None:
    """Average the losses since the last look over the processes; CommonError at the first that is no number."""
    new_losses = session.state.losses[session.state.checked_steps : session.state.step]
    if session.is_distributed:
        new_losses.copy_(distributed.average_over_ranks(session.accelerator, new_losses))
    values = new_losses.cpu()
    bad_steps = (~values.isfinite()).nonzero()
    if len(bad_steps):
        first_bad = int(bad_steps[0])
        raise distributed.AllRanksError(
            f"the loss is {values[first_bad].item()} at epoch {session.state.epoch + 1}, "
            f"step {session.state.checked_steps + first_bad + 1} of {session.epoch_steps}",
            "a smaller train.lr, train.warmup_epochs (cosine, step) or train.clip_norm may help",
        )
    session.state.checked_steps = session.state.step


def report_progress(session: TrainingSession) -> None:
    """Give the listener the place, the speed, the time left and the loss."""
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
    """Write a checkpoint, by the first process, where there is a folder for it."""
    started_at = time.perf_counter()
    if session.folder and session.accelerator.is_main_process:
        checkpoint.save_checkpoint(session.folder, session.state, session.identity)
    session.saved_at = time.perf_counter()
    session.save_seconds = session.saved_at - started_at


def save_after_epoch(session: TrainingSession) -> None:
    """Write a checkpoint after an epoch: the last one always, others as long as they cost a hundredth of the time.

    Any checkpoint leads to the same bits, so an older one costs a killed training time and nothing else.
    """
    checkpoint_bytes = checkpoint.count_checkpoint_bytes(session.state)
    expected_seconds = (
        max(checkpoint_bytes / BYTES_PER_S, session.save_seconds) if checkpoint_bytes > LIGHT_BYTES else 0.0
    )
    is_last_epoch = session.state.epoch == session.recipe.train.epochs
    if is_last_epoch or time.perf_counter() - session.saved_at >= expected_seconds / SAVE_TIME_SHARE:
        save_session(session)


def make_interruption(session: TrainingSession, stop: StopSignal) -> Interrupted:
    """What happened and how to go on."""
    state = session.state
    position = f"after epoch {state.epoch}" if not state.step else f"at epoch {state.epoch + 1}, step {state.step}"
    return Interrupted(
        f"stopped by {stop.signal_name or 'another process'} {position}",
        "the same command resumes from here" if session.folder else "without a folder there is nothing to resume from",
    )
