"""The learning rate as a pure function of the global step: there is no state to save or restore."""

import math

from attncli.errors import UserError
from attncli.recipe import Train

RISE_SHARE, START_FACTOR, END_FACTOR = (
    0.3,
    25.0,
    1e4,
)  # one-cycle: share of steps that rise, peak / first rate, first / last rate


def check_schedule(train: Train) -> None:
    """Raise UserError if keys of the recipe do not go together."""
    if train.schedule == "onecycle" and train.warmup_epochs:
        raise UserError(
            "train.warmup_epochs: schedule 'onecycle' has its own warm-up",
            "set train.warmup_epochs=0, or train.schedule=cosine",
        )
    if train.schedule == "step" and not train.step_epochs:
        raise UserError(
            "train.step_epochs: schedule 'step' needs at least one epoch", "for example train.step_epochs=[5, 8]"
        )
    if train.schedule != "step" and train.step_epochs:
        raise UserError(
            f"train.step_epochs: schedule '{train.schedule}' has no step epochs",
            "set train.schedule=step, or leave train.step_epochs out",
        )
    if train.warmup_epochs >= train.epochs:
        raise UserError(
            f"train.warmup_epochs: {train.warmup_epochs:g} must be smaller than train.epochs, which is {train.epochs}",
            "use a smaller train.warmup_epochs",
        )


def describe_late_steps(train: Train) -> str:
    """Return a line if the training ends before the learning rate is divided as often as the recipe says, else ""."""
    late_epochs = [epoch for epoch in train.step_epochs if epoch >= train.epochs]
    if train.schedule != "step" or not late_epochs:
        return ""
    times = "never" if late_epochs == list(train.step_epochs) else "less often than the recipe says"
    return (
        f"train.epochs={train.epochs}: the training ends before epoch {min(late_epochs)} of train.step_epochs, so the "
        f"learning rate is divided {times}; train.schedule=cosine fits any number of epochs"
    )


def learning_rate_at(train: Train, step: int, epoch_steps: int) -> float:
    """Return the rate of global step `step` (from 0) with `epoch_steps` steps per epoch; its peak is `train.lr`.

    cosine    half a cosine from the peak to 0 (Loshchilov and Hutter 2017, eq. 5, one period)
    onecycle  half a cosine from peak / 25 up to the peak in 30 % of the steps, another down to peak / 250000
              (Smith 2018, in the form and with the constants of torch's OneCycleLR)
    step      the peak divided by 10 after each epoch of `step_epochs`
    constant  the peak

    All but onecycle rise linearly over the first `warmup_epochs`.
    """
    total_steps = train.epochs * epoch_steps
    if train.schedule == "onecycle":
        return train.lr * _one_cycle(step, total_steps)
    warmup_steps = round(train.warmup_epochs * epoch_steps)
    if step < warmup_steps:
        return train.lr * (step + 1) / (warmup_steps + 1)
    if train.schedule == "cosine":
        return train.lr * _half_cosine((step - warmup_steps) / (total_steps - warmup_steps))
    if train.schedule == "step":
        return train.lr / 10 ** sum(step // epoch_steps >= epoch for epoch in train.step_epochs)
    return train.lr


def _half_cosine(fraction: float) -> float:
    """Return half a cosine, which falls from 1 at part 0 to 0 at part 1."""
    return (1 + math.cos(math.pi * fraction)) / 2


def _one_cycle(step: int, total_steps: int) -> float:
    if total_steps == 1:
        return 1.0  # the end of the cycle would train nothing
    peak_step = RISE_SHARE * total_steps - 1  # the (fractional) step of the peak
    first_rate = 1 / START_FACTOR
    if step <= peak_step:
        return 1 + (first_rate - 1) * _half_cosine(step / peak_step)
    return first_rate / END_FACTOR + (1 - first_rate / END_FACTOR) * _half_cosine(
        (step - peak_step) / (total_steps - 1 - peak_step)
    )
