"""The tasks that an executor gets, the events that it yields, and a worker's messages as events."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from attncli.recipe import Recipe
from attncli.system.signals import name_signal

OUTPUT_LOG = "output.log"  # in the run's folder: everything printed
EndStatus = Literal["FINISHED", "FAILED", "KILLED"]
Message = dict[str, Any]  # one line of a worker's output


@dataclass(frozen=True, kw_only=True)
class Task:
    """A run to do or, if `timing` is set, a network to time while nothing else runs."""

    recipe: Recipe
    digest: str
    title: str
    timing: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)  # for the MLflow run


@dataclass(frozen=True)
class TaskSource:
    """The tasks of a sweep, known only once their parent runs are open in MLflow, which takes seconds.

    An executor may start its workers before it calls `open_tasks`. It calls that once, also if there is nothing to do.
    """

    timings: int  # how many networks there are to time
    runs: int  # how many runs there are to do
    open_tasks: Callable[[], Sequence[Task]]  # raises UserError if the store refuses


@dataclass(frozen=True)
class TaskStarted:
    """A process has taken the task."""

    task: Task


@dataclass(frozen=True)
class TaskStage:
    """A part of the task begins; `text` does not name the run."""

    task: Task
    text: str


@dataclass(frozen=True, kw_only=True)
class TaskProgress:
    """The progress of a training."""

    task: Task
    epoch: int  # from 1
    epochs: int
    images_per_s: float
    seconds_left: float  # of the training


@dataclass(frozen=True)
class TaskWarning:
    """Something the user should know that did not stop the task."""

    task: Task
    text: str


@dataclass(frozen=True)
class TaskWaiting:
    """Another process, perhaps another sweep, works on the run: it is tried again from time to time."""

    task: Task


@dataclass(frozen=True)
class TaskEnded:
    """The task has ended: `problem` and `hint` say why if it is not finished."""

    task: Task
    status: EndStatus
    problem: str = ""
    hint: str = ""


@dataclass(frozen=True)
class JobsChanged:
    """From now on `jobs` tasks run at a time; `reason` says what decided it (`--jobs auto`)."""

    jobs: int
    reason: str


TaskEvent = TaskStarted | TaskStage | TaskProgress | TaskWarning | TaskWaiting | TaskEnded | JobsChanged


def parse_message(task: Task, message: Message) -> TaskEvent | None:
    """Return a worker's message as an event of its task, or None if it concerns only the worker's parent."""
    kind = message["event"]
    if kind == "began":
        return TaskStarted(task)
    if kind == "stage":
        return TaskStage(task, message["text"])
    if kind == "warned":
        return TaskWarning(task, message["text"])
    if kind == "step":
        return TaskProgress(task=task, **{k: v for k, v in message.items() if k != "event"})
    if kind != "ended":
        return None
    if message["status"] == "OCCUPIED":
        return TaskWaiting(task)
    return TaskEnded(task, message["status"], message.get("problem", ""), message.get("hint", ""))


def make_stopped_event(task: Task) -> TaskEnded:
    """Return the end of a task that was asked to stop and sent nothing more."""
    return TaskEnded(task, "KILLED", "stopped", "the same sweep resumes from its checkpoint")


def make_exit_message(exit_code: int, last_line: str, *, stop_requested: bool) -> Message:
    """Return the message that a worker could not send before it ended with exit code `exit_code` (-n: signal n)."""
    if stop_requested:
        return _make_ended_message("KILLED", "stopped", "the same sweep resumes from its checkpoint")
    if exit_code >= 0:
        return _make_ended_message("FAILED", f"its process ended with exit code {exit_code}: {last_line}")
    name = name_signal(-exit_code)
    hint = "if memory ran out: use fewer --jobs, or a smaller train.batch_size" if name == "SIGKILL" else ""
    return _make_ended_message("KILLED", f"its process was killed by {name}", hint)


def _make_ended_message(status: str, problem: str, hint: str = "") -> Message:
    return {"event": "ended", "status": status, "problem": problem, "hint": hint}


def append_to_log(folder: Path, problem: str) -> None:
    """Append a problem to the run's log; its process may have been killed before it made the folder."""
    with suppress(OSError):  # the problem is reported anyway
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / OUTPUT_LOG).open("a", encoding="utf-8") as log:
            log.write(f"Error: {problem}\n")
