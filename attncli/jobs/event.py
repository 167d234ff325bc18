"""What an executor is given, and what it tells: tasks and events."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from attncli.recipe import Recipe

LOG = "output.log"  # in the run's folder: what was printed
Ending = Literal["FINISHED", "FAILED", "KILLED"]


@dataclass(frozen=True, kw_only=True)
class Task:
    """A run to do or, where `timing` is set, a network to time, which wants the machine to itself."""

    recipe: Recipe
    digest: str
    title: str
    timing: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)  # for the MLflow run


@dataclass(frozen=True)
class Began:
    """A process has taken the task."""

    task: Task


@dataclass(frozen=True)
class Stage:
    """A part of the task begins."""

    task: Task
    text: str


@dataclass(frozen=True, kw_only=True)
class Moved:
    """Where a training is."""

    task: Task
    epoch: int  # from 1
    epochs: int
    images_per_s: float
    seconds_left: float  # of the training


@dataclass(frozen=True)
class Warned:
    """Something the user should know that stopped nothing."""

    task: Task
    text: str


@dataclass(frozen=True)
class Waiting:
    """Another process, perhaps another sweep, is at the run: it is looked at again from time to time."""

    task: Task


@dataclass(frozen=True)
class Ended:
    """The task is over: `problem` and `hint` say why it was not finished."""

    task: Task
    status: Ending
    problem: str = ""
    hint: str = ""


Event = Began | Stage | Moved | Warned | Waiting | Ended
