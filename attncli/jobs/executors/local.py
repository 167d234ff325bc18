"""The executor of this machine: a pool of worker processes, each with its share of the cores or its GPU."""

from collections.abc import Generator, Iterator, Sequence
from functools import partial

from attncli.jobs import events, resources
from attncli.jobs.core_sharing import choose_jobs_by_timing
from attncli.jobs.events import JobsChanged, Message, Task, TaskEvent, TaskProgress, TaskSource, TaskStarted
from attncli.jobs.execute import Executor
from attncli.jobs.gpu_sharing import GpuWatch
from attncli.jobs.schedule import run_tasks
from attncli.jobs.worker_pool import WorkerPool, WorkerProcess, WorkerSettings
from attncli.system.memory_limit import check_process_memory
from attncli.system.signals import StopRequest

LISTEN_S = 0.2
RETRY_S = 3.0  # until a run that another process works on is tried again


def make_local_executor(jobs: int, settings: WorkerSettings, *, shares_devices: bool = False) -> Executor:
    """Return an executor with `jobs` processes. Timings come first, alone: one at a time, or one per GPU.

    With `shares_devices` more processes start if it is seen that one run leaves a part of a GPU, or of the cores, idle.
    """
    return partial(_execute_locally, jobs, settings, shares_devices)


def _execute_locally(
    jobs: int, settings: WorkerSettings, shares_devices: bool, source: TaskSource, stop: StopRequest
) -> Iterator[TaskEvent]:
    """Do the tasks of the source: timings first and alone if several runs may share the machine, then the runs."""
    shares_gpus = shares_devices and bool(resources.list_gpus())
    shares_cores = shares_devices and not shares_gpus
    if (workers := min(jobs, source.runs)) > 1:
        check_process_memory("--jobs", workers)
    tasks: Sequence[Task] | None = None  # not opened yet
    timing_threads = None
    if source.timings and (jobs > 1 or shares_devices):
        tasks, timing_threads = yield from _execute_timings(jobs, settings, source, stop)
    elif shares_cores:
        tasks = source.open_tasks()
    if shares_cores and tasks and not stop.reason:
        jobs = yield from _choose_shared_jobs(tasks, settings, stop)
    backend = LocalBackend(settings, jobs, timing_threads, GpuWatch() if shares_gpus else None)
    if tasks is None:
        tasks = _open_tasks_beside(backend, source, source.timings + source.runs)
    yield from run_tasks(backend, tasks, stop, settings.runs)


def _execute_timings(
    jobs: int, settings: WorkerSettings, source: TaskSource, stop: StopRequest
) -> Generator[TaskEvent, None, tuple[Sequence[Task], int | None]]:
    """Do the timings of the source. Return the other tasks, and with how many threads was timed."""
    backend = LocalBackend(settings, resources.count_timing_places(jobs))
    tasks = _open_tasks_beside(backend, source, source.timings)
    yield from run_tasks(backend, [task for task in tasks if task.timing], stop, settings.runs)
    return [task for task in tasks if not task.timing], backend.timing_threads


def _choose_shared_jobs(
    tasks: Sequence[Task], settings: WorkerSettings, stop: StopRequest
) -> Generator[TaskEvent, None, int]:
    """Time steps of the first run, say how many runs share the cores, and return this number."""
    yield JobsChanged(1, "steps of the first run are timed, to see how many share the cores")
    jobs, reason = choose_jobs_by_timing(tasks[0].recipe, settings.runs, len(tasks), stop)
    if not stop.reason:
        yield JobsChanged(jobs, reason)
    return jobs


def _open_tasks_beside(backend: "LocalBackend", source: TaskSource, first_tasks: int) -> Sequence[Task]:
    """Return the tasks of the source; meanwhile the workers for the first of them start, which takes as long."""
    try:
        backend.prepare_places(first_tasks)
        return source.open_tasks()
    except BaseException:
        backend.shut_down()
        raise


class LocalBackend:
    """A pool of `size` workers. `timing_threads` is the number of threads of the timings, if there were any.

    A `gpu_watch` may enlarge the pool.
    """

    def __init__(
        self, settings: WorkerSettings, size: int, timing_threads: int | None = None, gpu_watch: GpuWatch | None = None
    ) -> None:
        self.retry_s = RETRY_S
        self.timing_threads = timing_threads
        self._settings = settings
        self._pool = WorkerPool(size, settings)
        self._gpu_watch = gpu_watch

    @property
    def is_busy(self) -> bool:
        """Whether a worker has a task."""
        return bool(self._pool.busy_workers)

    def prepare_places(self, waiting_tasks: int) -> int:
        """Start workers for the waiting tasks and return how many workers are idle."""
        self._pool.spawn_workers(len(self._pool.busy_workers) + waiting_tasks)
        return len(self._pool.idle_workers)

    def start_tasks(self, tasks: Sequence[Task]) -> Iterator[TaskEvent]:
        """Give each task to an idle worker."""
        for worker, task in zip(self._pool.idle_workers, tasks, strict=False):
            if task.timing:
                self.timing_threads = worker.threads
            worker.give_task(task, self.timing_threads)
            yield TaskStarted(task)

    def poll_events(self) -> Iterator[TaskEvent]:
        """Yield the messages of the workers, and the ends of those that died, as events."""
        for worker, message in self._pool.poll_messages(LISTEN_S):
            if message is not None and message["event"] == "ready":
                worker.is_ready, worker.threads = True, message["threads"]
                continue
            event = _handle_message(worker, message) if message is not None else self._handle_exit(worker)
            if event is not None:
                yield event
            if isinstance(event, TaskProgress):
                yield from self._share_gpus()

    def _share_gpus(self) -> Iterator[JobsChanged]:
        """Enlarge the pool if the GPU watch has just decided so; a run trains, so the GPUs are at work."""
        decision = self._gpu_watch.look() if self._gpu_watch else None
        if decision is not None:
            self._pool.size, reason = decision
            yield JobsChanged(self._pool.size, reason)

    def cancel_tasks(self, *, at_once: bool) -> None:
        """Ask every task to save and end; kill those that take too long, or all if `at_once`."""
        self._pool.cancel_tasks(at_once)

    def shut_down(self) -> None:
        """End all workers."""
        self._pool.shut_down()

    def _handle_exit(self, worker: WorkerProcess) -> TaskEvent | None:
        """Remove a process that ended; return the end of its task if it had one."""
        exit_code = self._pool.remove_worker(worker)
        task, worker.task = worker.task, None
        if task is None:
            return None
        message = events.make_exit_message(exit_code, worker.last_line, stop_requested=worker.is_stopping)
        if not worker.is_stopping:
            events.append_to_log(self._settings.runs / task.digest, message["problem"])
        return events.parse_message(task, message)


def _handle_message(worker: WorkerProcess, message: Message) -> TaskEvent | None:
    """Return a worker's message as an event; at the end of its task the worker is idle again, or ends."""
    task = worker.task
    if task is None:
        return None
    if message["event"] == "ended":
        worker.task = None
        worker.is_stopping = message["status"] not in ("FINISHED", "OCCUPIED")  # it ends by itself
    return events.parse_message(task, message)
