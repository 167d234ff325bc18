"""The learning rate as a pure function of the global step: nothing to save, nothing to resume."""

import math

from attncli.errors import UserError
from attncli.recipe import Train

RISE, START, END = 0.3, 25.0, 1e4  # one-cycle: share of steps that rise, peak / first rate, first / last rate


def check(train: Train) -> None:
    """Raise UserError where keys of the recipe do not go together."""
    if train.schedule == "onecycle" and train.warmup_epochs:
        raise UserError(
            "train.warmup_epochs: onecycle has a warm-up of its own", "train.warmup_epochs=0, or train.schedule=cosine"
        )
    if train.schedule == "step" and not train.step_epochs:
        raise UserError("train.step_epochs: schedule 'step' needs at least one", "for example train.step_epochs=[5, 8]")
    if train.schedule != "step" and train.step_epochs:
        raise UserError(
            f"train.step_epochs: schedule '{train.schedule}' takes none", "train.schedule=step, or leave it out"
        )
    if train.warmup_epochs >= train.epochs:
        raise UserError(
            f"train.warmup_epochs: {train.warmup_epochs:g} leaves nothing of {train.epochs} epochs",
            "give a smaller one",
        )


def rate(train: Train, step: int, steps: int) -> float:
    """Learning rate of global step `step` (from 0), with `steps` steps an epoch; `train.lr` is its peak.

    cosine    half a cosine from the peak to 0 (Loshchilov and Hutter 2017, eq. 5, one period)
    onecycle  half a cosine from peak / 25 up to the peak in 30 % of the steps, another down to peak / 250000
              (Smith 2018, in the form and with the constants of torch's OneCycleLR)
    step      the peak divided by 10 after each epoch of `step_epochs`
    constant  the peak

    All but onecycle rise linearly over the first `warmup_epochs`.
    """
    total = train.epochs * steps
    if train.schedule == "onecycle":
        return train.lr * _onecycle(step, total)
    warmup = round(train.warmup_epochs * steps)
    if step < warmup:
        return train.lr * (step + 1) / (warmup + 1)
    if train.schedule == "cosine":
        return train.lr * _cosine((step - warmup) / (total - warmup))
    if train.schedule == "step":
        return train.lr / 10 ** sum(step // steps >= epoch for epoch in train.step_epochs)
    return train.lr


def _cosine(part: float) -> float:
    """From 1 at part 0 to 0 at part 1."""
    return (1 + math.cos(math.pi * part)) / 2


def _onecycle(step: int, total: int) -> float:
    top = RISE * total - 1  # the (fractional) step of the peak
    first = 1 / START
    if step <= top:
        return 1 + (first - 1) * _cosine(step / top)
    return first / END + (1 - first / END) * _cosine((step - top) / (total - 1 - top))
