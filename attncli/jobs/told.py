"""What the process of a worker says, or leaves unsaid, as events: the same wherever it runs."""

import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

from attncli.jobs.event import LOG, Began, Ended, Event, Moved, Stage, Task, Waiting, Warned

Message = dict[str, Any]  # a line of a worker


def event(task: Task, message: Message) -> Event | None:
    """A worker's message as an event of its task; None for what is between the worker and its parent."""
    kind = message["event"]
    if kind == "began":
        return Began(task)
    if kind == "stage":
        return Stage(task, message["text"])
    if kind == "warned":
        return Warned(task, message["text"])
    if kind == "step":
        return Moved(task=task, **{k: v for k, v in message.items() if k != "event"})
    if kind != "ended":
        return None
    if message["status"] == "OCCUPIED":
        return Waiting(task)
    return Ended(task, message["status"], message.get("problem", ""), message.get("hint", ""))


def stopped(task: Task) -> Ended:
    """The end of a task that was told to stop and said nothing more."""
    return Ended(task, "KILLED", "stopped", "the same sweep goes on from its checkpoint")


def silent(code: int, last_words: str, *, asked: bool) -> Message:
    """The message that a worker's process could not send before it ended with exit code `code` (-n: signal n)."""
    if asked:
        return _ended("KILLED", "stopped", "the same sweep goes on from its checkpoint")
    if code >= 0:
        return _ended("FAILED", f"its process ended with exit code {code}: {last_words}")
    name = signal.Signals(-code).name
    hint = "too little memory? fewer --jobs, or a smaller train.batch_size" if name == "SIGKILL" else ""
    return _ended("KILLED", f"its process was killed by {name}", hint)


def _ended(status: str, problem: str, hint: str = "") -> Message:
    return {"event": "ended", "status": status, "problem": problem, "hint": hint}


def note(folder: Path, problem: str) -> None:
    """Say in the run's log what its process could not say; it may have been killed before it made the folder."""
    with suppress(OSError):  # the problem is told all the same
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / LOG).open("a", encoding="utf-8") as log:
            log.write(f"Error: {problem}\n")
