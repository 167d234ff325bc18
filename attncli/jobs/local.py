"""The executor of this machine: worker processes that stay, each with its share of the cores or its GPU."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial

from attncli import track
from attncli.jobs import told
from attncli.jobs.crew import Crew, Place, Worker
from attncli.jobs.event import Began, Ended, Event, Task, Waiting
from attncli.jobs.stop import Stop
from attncli.jobs.told import Message
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
    """A worker's message as an event; at the end of its task it is free again, or leaves."""
    task = worker.task
    if task is None:
        return None
    if message["event"] == "ended":
        worker.task = None
        worker.asked_to_stop = message["status"] not in ("FINISHED", "OCCUPIED")  # it ends by itself
    return told.event(task, message)


def _lost(crew: Crew, place: Place, worker: Worker) -> Event | None:
    """The end of a process: that of its task too, where it had one."""
    code = crew.lose(worker)
    task, worker.task = worker.task, None
    if task is None:
        return None
    message = told.silent(code, worker.last_words, asked=worker.asked_to_stop)
    if not worker.asked_to_stop:
        told.note(place.runs / task.digest, message["problem"])
    return told.event(task, message)
