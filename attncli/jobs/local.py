"""The executor of this machine: worker processes that stay, each with its share of the cores or its GPU."""

import signal
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from attncli import track
from attncli.jobs.crew import Crew, Message, Place, Worker
from attncli.jobs.event import LOG, Began, Ended, Event, Moved, Stage, Task, Waiting, Warned
from attncli.jobs.stop import Stop
from attncli.jobs.work import Executor

LISTEN_S = 0.2
AGAIN_S = 3.0  # until a run that another process was at is looked at again


def local(jobs: int, place: Place) -> Executor:
    """An executor of `jobs` processes. Timings come first, one at a time and with nothing beside them."""
    return partial(_execute, jobs, place)


def _execute(jobs: int, place: Place, tasks: Sequence[Task], stop: Stop) -> Iterator[Event]:
    timings, others = [t for t in tasks if t.timing], [t for t in tasks if not t.timing]
    threads: list[int] = []  # of the timings
    if timings and jobs > 1:
        yield from _shift(Crew(1, place), place, timings, stop, threads)
        timings = []
    if not stop.reason:
        yield from _shift(Crew(jobs, place), place, timings + others, stop, threads)


def _shift(crew: Crew, place: Place, tasks: Sequence[Task], stop: Stop, threads: list[int]) -> Iterator[Event]:
    """All tasks done by one crew; `threads` gets the number of threads with which timings were made."""
    pending = deque(tasks)
    later: deque[tuple[float, Task]] = deque()
    try:
        while pending or later or crew.busy:
            if stop.reason:
                pending.clear()
                later.clear()
                crew.press(stop.hurry)
            while later and later[0][0] <= time.monotonic():
                pending.append(later.popleft()[1])
            crew.hire(len(crew.busy) + len(pending))
            yield from _hand_out(crew, place, pending, threads)
            for worker, message in crew.hear(LISTEN_S):
                if message is not None and message["event"] == "ready":
                    worker.ready, worker.threads = True, message["threads"]
                    continue
                event = _told(worker, message) if message is not None else _lost(crew, place, worker)
                if isinstance(event, Waiting):
                    later.append((time.monotonic() + AGAIN_S, event.task))
                if event:
                    yield event
    finally:
        crew.go_home()


def _hand_out(crew: Crew, place: Place, pending: "deque[Task]", threads: list[int]) -> Iterator[Event]:
    """A task for every idle worker; what another sweep has finished meanwhile is told and passed over."""
    for worker in crew.idle:
        while pending:
            task = pending.popleft()
            if not task.timing and track.finished(place.runs / task.digest):
                yield Ended(task, "FINISHED")
                continue
            if task.timing:
                threads[:] = [worker.threads]
            worker.give(task, threads[0] if threads else None)
            yield Began(task)
            break


def _told(worker: Worker, message: Message) -> Event | None:
    """A worker's message as an event."""
    task = worker.task
    if task is None:
        return None
    if message["event"] == "stage":
        return Stage(task, message["text"])
    if message["event"] == "warned":
        return Warned(task, message["text"])
    if message["event"] == "step":
        return Moved(task=task, **{k: v for k, v in message.items() if k != "event"})
    worker.task = None
    if message["status"] == "OCCUPIED":
        return Waiting(task)
    worker.asked_to_stop = message["status"] != "FINISHED"  # it ends by itself
    return Ended(task, message["status"], message.get("problem", ""), message.get("hint", ""))


def _lost(crew: Crew, place: Place, worker: Worker) -> Event | None:
    """The end of a process: that of its task too, where it had one."""
    code = crew.lose(worker)
    task, worker.task = worker.task, None
    if task is None:
        return None
    if worker.asked_to_stop:
        return Ended(task, "KILLED", "stopped", "the same sweep goes on from its checkpoint")
    if code < 0:
        name = signal.Signals(-code).name
        hint = "too little memory? fewer --jobs, or a smaller train.batch_size" if name == "SIGKILL" else ""
        ended = Ended(task, "KILLED", f"its process was killed by {name}", hint)
    else:
        ended = Ended(task, "FAILED", f"its process ended with exit code {code}: {worker.last_words}")
    _note(place.runs / task.digest, ended.problem)
    return ended


def _note(folder: Path, problem: str) -> None:
    """Say in the run's log what its process could not say; it may have been killed before it made the folder."""
    with suppress(OSError):  # the problem is told all the same
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / LOG).open("a", encoding="utf-8") as log:
            log.write(f"Error: {problem}\n")
