"""What the process of a worker says, or leaves unsaid, as events: the same wherever it runs."""

import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

from attncli.jobs.events import (
    OUTPUT_LOG,
    Task,
    TaskEnded,
    TaskEvent,
    TaskProgress,
    TaskStage,
    TaskStarted,
    TaskWaiting,
    TaskWarning,
)

Message = dict[str, Any]  # a line of a worker


def parse_message(task: Task, message: Message) -> TaskEvent | None:
    """Return a worker's message as an event of its task, or None for what is between the worker and its parent."""
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
    """Return the end of a task that was told to stop and said nothing more."""
    return TaskEnded(task, "KILLED", "stopped", "the same sweep goes on from its checkpoint")


def make_exit_message(exit_code: int, last_line: str, *, stop_requested: bool) -> Message:
    """Return the message that a worker's process could not send before it ended with exit code `exit_code` (-n: signal n)."""
    if stop_requested:
        return _make_ended_message("KILLED", "stopped", "the same sweep goes on from its checkpoint")
    if exit_code >= 0:
        return _make_ended_message("FAILED", f"its process ended with exit code {exit_code}: {last_line}")
    name = signal.Signals(-exit_code).name
    hint = "too little memory? fewer --jobs, or a smaller train.batch_size" if name == "SIGKILL" else ""
    return _make_ended_message("KILLED", f"its process was killed by {name}", hint)


def _make_ended_message(status: str, problem: str, hint: str = "") -> Message:
    return {"event": "ended", "status": status, "problem": problem, "hint": hint}


def append_to_log(folder: Path, problem: str) -> None:
    """Say in the run's log what its process could not say; it may have been killed before it made the folder."""
    with suppress(OSError):  # the problem is told all the same
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / OUTPUT_LOG).open("a", encoding="utf-8") as log:
            log.write(f"Error: {problem}\n")
