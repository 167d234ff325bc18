"""The executor of this machine: a pool of worker processes, each with its share of the cores or its GPU."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial

from attncli import track
from attncli.jobs import events
from attncli.jobs.events import Message, Task, TaskEnded, TaskEvent, TaskStarted, TaskWaiting
from attncli.jobs.execute import Executor
from attncli.jobs.worker_pool import WorkerPool, WorkerProcess, WorkerSettings
from attncli.system.signals import StopRequest

LISTEN_S = 0.2
RETRY_S = 3.0  # until a run that another process works on is tried again


def make_local_executor(jobs: int, settings: WorkerSettings) -> Executor:
    """Return an executor with `jobs` processes. Timings come first, one at a time, while nothing else runs."""
    return partial(_execute_locally, jobs, settings)


def _execute_locally(
    jobs: int, settings: WorkerSettings, tasks: Sequence[Task], stop: StopRequest
) -> Iterator[TaskEvent]:
    timings, others = [t for t in tasks if t.timing], [t for t in tasks if not t.timing]
    timing_threads: list[int] = []  # of the timings
    if timings and jobs > 1:
        yield from _run_pool(WorkerPool(1, settings), settings, timings, stop, timing_threads)
        timings = []
    if not stop.reason:
        yield from _run_pool(WorkerPool(jobs, settings), settings, timings + others, stop, timing_threads)


def _run_pool(
    pool: WorkerPool, settings: WorkerSettings, tasks: Sequence[Task], stop: StopRequest, timing_threads: list[int]
) -> Iterator[TaskEvent]:
    """Do all tasks with one pool; `timing_threads` gets the number of threads of the timings."""
    pending = deque(tasks)
    postponed: deque[tuple[float, Task]] = deque()
    try:
        while pending or postponed or pool.busy_workers:
            if stop.reason:
                pending.clear()
                postponed.clear()
                pool.cancel_tasks(stop.at_once)
            while postponed and postponed[0][0] <= time.monotonic():
                pending.append(postponed.popleft()[1])
            pool.spawn_workers(len(pool.busy_workers) + len(pending))
            yield from _assign_tasks(pool, settings, pending, timing_threads)
            for worker, message in pool.poll_messages(LISTEN_S):
                if message is not None and message["event"] == "ready":
                    worker.is_ready, worker.threads = True, message["threads"]
                    continue
                event = (
                    _handle_message(worker, message) if message is not None else _handle_exit(pool, settings, worker)
                )
                if isinstance(event, TaskWaiting):
                    postponed.append((time.monotonic() + RETRY_S, event.task))
                if event:
                    yield event
    finally:
        pool.shut_down()


def _assign_tasks(
    pool: WorkerPool, settings: WorkerSettings, pending: "deque[Task]", timing_threads: list[int]
) -> Iterator[TaskEvent]:
    """Give every idle worker a task; runs that another sweep has finished meanwhile are reported and skipped."""
    for worker in pool.idle_workers:
        while pending:
            task = pending.popleft()
            if not task.timing and track.read_finished_result(settings.runs / task.digest):
                yield TaskEnded(task, "FINISHED")
                continue
            if task.timing:
                timing_threads[:] = [worker.threads]
            worker.give_task(task, timing_threads[0] if timing_threads else None)
            yield TaskStarted(task)
            break


def _handle_message(worker: WorkerProcess, message: Message) -> TaskEvent | None:
    """Yield a worker's message as an event; at the end of its task the worker is idle again, or ends."""
    task = worker.task
    if task is None:
        return None
    if message["event"] == "ended":
        worker.task = None
        worker.is_stopping = message["status"] not in ("FINISHED", "OCCUPIED")  # it ends by itself
    return events.parse_message(task, message)


def _handle_exit(pool: WorkerPool, settings: WorkerSettings, worker: WorkerProcess) -> TaskEvent | None:
    """Remove a process that ended; yield the end of its task if it had one."""
    exit_code = pool.remove_worker(worker)
    task, worker.task = worker.task, None
    if task is None:
        return None
    message = events.make_exit_message(exit_code, worker.last_line, stop_requested=worker.is_stopping)
    if not worker.is_stopping:
        events.append_to_log(settings.runs / task.digest, message["problem"])
    return events.parse_message(task, message)
