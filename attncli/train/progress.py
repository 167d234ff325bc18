"""What a training reports while it runs."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class TrainingProgress:
    """The progress of a training, reported about twice per second and at the end of every epoch."""

    epoch: int  # from 1
    epochs: int
    step: int  # steps done of this epoch
    steps: int  # steps per epoch
    images_per_s: float  # training time of this epoch only
    seconds_left: float  # to the end of the training, evaluation and checkpoints included
    loss: float  # mean of the last steps


ProgressListener = Callable[[TrainingProgress], None]
