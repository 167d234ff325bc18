"""The loop of a sweep, the same on every executor: start the tasks that are due and yield what happens to them."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from attncli import track
from attncli.jobs.events import Task, TaskEnded, TaskEvent, TaskWaiting
from attncli.system.signals import StopRequest


class TaskBackend(Protocol):
    """The place where tasks are done. `retry_s` is the time until a run of another process is tried again."""

    retry_s: float

    @property
    def is_busy(self) -> bool:
        """Whether a task has been started that has not ended."""

    def prepare_places(self, waiting_tasks: int) -> int:
        """Make room for waiting tasks and return how many of them can be started now."""

    def start_tasks(self, tasks: Sequence[Task]) -> Iterator[TaskEvent]:
        """Start tasks, not more than there are places."""

    def poll_events(self) -> Iterator[TaskEvent]:
        """Yield the events since the last call; wait a moment if there are none. A task of TaskWaiting has ended."""

    def cancel_tasks(self, *, at_once: bool) -> None:
        """Ask the tasks to save and end, or kill them. Called again and again until none is left."""

    def shut_down(self) -> None:
        """End what is left, whatever happened. The backend may be used again."""


def run_tasks(backend: TaskBackend, tasks: Sequence[Task], stop: StopRequest, runs: Path) -> Iterator[TaskEvent]:
    """Have the backend do all tasks in their order. On a request to stop, those that run save first.

    Args:
        backend: where the tasks are done.
        tasks: runs of the folder `runs`, and timings.
        stop: set by a signal; nothing is started after it.
        runs: the folder in which finished runs are looked for.
    """
    due_tasks = deque(tasks)
    postponed: deque[tuple[float, Task]] = deque()  # with the time at which to try again
    try:
        while backend.is_busy or ((due_tasks or postponed) and not stop.reason):
            if stop.reason:
                due_tasks.clear()
                postponed.clear()
                backend.cancel_tasks(at_once=stop.at_once)
            while postponed and postponed[0][0] <= time.monotonic():
                due_tasks.append(postponed.popleft()[1])
            yield from _start_due_tasks(backend, due_tasks, runs)
            if not (backend.is_busy or due_tasks or postponed):
                break
            for event in backend.poll_events():
                if isinstance(event, TaskWaiting):
                    postponed.append((time.monotonic() + backend.retry_s, event.task))
                yield event
    finally:
        backend.shut_down()


def _start_due_tasks(backend: TaskBackend, due_tasks: "deque[Task]", runs: Path) -> Iterator[TaskEvent]:
    """Start as many tasks as there are places; runs that another sweep has finished are reported and skipped."""
    places = backend.prepare_places(len(due_tasks))
    starting: list[Task] = []
    while due_tasks and len(starting) < places:
        task = due_tasks.popleft()
        if not task.timing and track.read_finished_result(runs / task.digest):
            yield TaskEnded(task, "FINISHED")
        else:
            starting.append(task)
    if starting:
        yield from backend.start_tasks(starting)
