"""What an executor is given, and what it tells: tasks and events."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from attncli.recipe import Recipe

OUTPUT_LOG = "output.log"  # in the run's folder: what was printed
EndStatus = Literal["FINISHED", "FAILED", "KILLED"]


@dataclass(frozen=True, kw_only=True)
class Task:
    """A run to do or, if `timing` is set, a network to time, which wants the machine to itself."""

    recipe: Recipe
    digest: str
    title: str
    timing: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)  # for the MLflow run


@dataclass(frozen=True)
class TaskStarted:
    """A process has taken the task."""

    task: Task


@dataclass(frozen=True)
class TaskStage:
    """A part of the task begins."""

    task: Task
    text: str


@dataclass(frozen=True, kw_only=True)
class TaskProgress:
    """Where a training is."""

    task: Task
    epoch: int  # from 1
    epochs: int
    images_per_s: float
    seconds_left: float  # of the training


@dataclass(frozen=True)
class TaskWarning:
    """Something the user should know that stopped nothing."""

    task: Task
    text: str


@dataclass(frozen=True)
class TaskWaiting:
    """Another process, perhaps another sweep, is at the run: it is looked at again from time to time."""

    task: Task


@dataclass(frozen=True)
class TaskEnded:
    """The task is over: `problem` and `hint` say why it was not finished."""

    task: Task
    status: EndStatus
    problem: str = ""
    hint: str = ""


TaskEvent = TaskStarted | TaskStage | TaskProgress | TaskWarning | TaskWaiting | TaskEnded
