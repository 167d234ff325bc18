"""The executor of a Slurm cluster: the runs are one array of jobs, submitted by submitit.

A job does its run in a worker process and writes its messages to a file on the disk that all nodes share. The
sweep reads that file. A job that runs out of time (SIGUSR2, which submitit asks Slurm for) or loses its node
(SIGTERM) first saves its run; it is queued again and resumes from the checkpoint.
"""

import json
import os
import platform
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from attncli.errors import UserError
from attncli.jobs import events
from attncli.jobs.events import Message, Task, TaskEnded, TaskEvent, TaskSource, TaskWaiting
from attncli.jobs.execute import Executor
from attncli.jobs.remote_task import RemoteTask
from attncli.jobs.schedule import run_tasks
from attncli.jobs.worker_pool import WorkerSettings
from attncli.system.signals import StopRequest

FOLDER = ".slurm"  # in the folder of runs: submitit's files and the jobs' messages
POLL_S = 1.0
RETRY_S = 30.0  # until a run that another process works on is queued again
SILENCE_S = 20.0  # until a job that left the queue without a message counts as lost: disks of clusters are slow
LEAVE_WAIT_S = 1800.0  # time that a job which was asked to end waits for Slurm to end it
REQUEUES = 1000  # every attempt resumes from the last one's checkpoint
ENDED_STATES = {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "OUT_OF_MEMORY", "TIMEOUT"}
DEFAULT_OPTIONS = {"time": 240, "signal_delay_s": 120, "wckey": ""}  # minutes, seconds


class SlurmJob:
    """The work of a job: a remote task whose messages go to a file. submitit calls it, and `checkpoint` on SIGUSR2."""

    def __init__(self, remote_task: RemoteTask, message_file: Path) -> None:
        self.remote_task = remote_task
        self.message_file = message_file

    def __call__(self) -> str:
        """Do the task and return how it ended. A stopped job waits, so that Slurm does not take it as done."""
        leave_signals: list[int] = []

        def note_sigterm(number: int, frame: FrameType | None) -> None:
            leave_signals.append(number)
            self.remote_task.request_stop()

        signal.signal(signal.SIGTERM, note_sigterm)
        last_message: Message = {}
        for last_message in self.remote_task.run_worker():
            self._write_message(last_message)
            if last_message["event"] == "began":
                self._write_message({"event": "stage", "text": f"on {platform.node()}"})
        if leave_signals:
            time.sleep(LEAVE_WAIT_S)
        return str(last_message["status"])

    def checkpoint(self) -> Any:
        """Save the run and return the same job to be queued again."""
        from submitit.helpers import DelayedSubmission

        self.remote_task.request_stop()
        self.remote_task.wait_until_saved()
        self._write_message({"event": "stage", "text": "saved, in the queue again"})
        return DelayedSubmission(self)

    def _write_message(self, message: Message) -> None:
        with self.message_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(message) + "\n")


def make_slurm_executor(
    settings: WorkerSettings,
    *,
    jobs: int | None = None,
    cpus: int = 1,
    gpus: int = 0,
    options: Mapping[str, Any] | None = None,
    cluster: str = "slurm",
) -> Executor:
    """Return an executor that queues every run as a job with `cpus` cores and `gpus` GPUs, at most `jobs` at a time.

    `options` are sbatch's as submitit names them (partition, account, time in minutes, ...). Timings are earlier jobs,
    one after the other, each with a whole node. `cluster` is submitit's name of the cluster: "local" does
    them here, all at once. Raises UserError without submitit or Slurm, and for unknown options.
    """
    needs: dict[str, Any] = {"cpus_per_task": cpus, **({"gpus_per_node": gpus} if gpus else {})}
    submit_options = DEFAULT_OPTIONS | needs | ({"array_parallelism": jobs} if jobs else {}) | dict(options or {})
    return partial(_execute_on_slurm, settings.with_absolute_runs(), cpus, cluster, submit_options)


def _execute_on_slurm(
    settings: WorkerSettings,
    cpus: int,
    cluster: str,
    options: Mapping[str, Any],
    source: TaskSource,
    stop: StopRequest,
) -> Iterator[TaskEvent]:
    tasks = source.open_tasks()
    folder = settings.runs / FOLDER / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    backend = SlurmBackend(
        settings,
        cpus,
        folder,
        partial(_submit_jobs, cluster, folder),
        list_local_ids if cluster == "local" else list_queued_ids,
        options={**options, "exclusive": True, "array_parallelism": 1},
    )
    yield from run_tasks(backend, [t for t in tasks if t.timing], stop, settings.runs)
    backend.options = options
    yield from run_tasks(backend, [t for t in tasks if not t.timing], stop, settings.runs)


def _submit_jobs(cluster: str, folder: Path, options: Mapping[str, Any], jobs: Sequence[SlurmJob]) -> list[Any]:
    """Submit the jobs and return submitit's handles. Raises UserError if that fails."""
    try:
        import submitit
    except ImportError as error:
        raise UserError("--on slurm: submitit is not installed", "pip install 'attncli[slurm]'") from error
    submitit_executor: Any
    try:
        if cluster == "local":
            submitit_executor = submitit.LocalExecutor(folder=folder, max_num_timeout=REQUEUES)
            submitit_executor.update_parameters(timeout_min=options["time"], signal_delay_s=options["signal_delay_s"])
        else:
            submitit_executor = submitit.SlurmExecutor(folder=folder, max_num_timeout=REQUEUES)
            submitit_executor.update_parameters(job_name="attncli", **options)
        return list(submitit_executor.submit_array(jobs))
    except RuntimeError as error:
        raise UserError(f"--on slurm: {error}", "run it on a machine that has sbatch and srun") from error
    except (ValueError, OSError, submitit.core.utils.FailedJobError) as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise UserError(f"--on slurm: {lines[-1]}", "give sbatch's options with --slurm KEY=VALUE") from error


@dataclass
class QueuedJob:
    """A job as the sweep sees it."""

    task: Task
    handle: Any  # submitit's
    message_file: Path
    bytes_read: int = 0  # bytes of `message_file`
    last_ending: TaskEnded | None = None  # the message that it was stopped, which another attempt may follow
    has_started: bool = False
    gone_since: float | None = None  # clock at which it was seen to have left the queue

    def read_messages(self) -> Iterator[Message]:
        """Yield the messages since the last call, only whole lines."""
        with suppress(FileNotFoundError), self.message_file.open("rb") as file:
            file.seek(self.bytes_read)
            complete_lines, newline, _ = file.read().rpartition(b"\n")
            self.bytes_read += len(complete_lines) + len(newline)
            yield from map(json.loads, complete_lines.splitlines())


@dataclass
class SlurmBackend:
    """The jobs of one sweep: `submit_jobs(options, jobs)` queues some, `list_alive(handles)` returns the unfinished."""

    settings: WorkerSettings
    cpus: int
    folder: Path
    submit_jobs: Callable[[Mapping[str, Any], Sequence[SlurmJob]], list[Any]]
    list_alive: Callable[[Sequence[Any]], set[str] | None]
    options: Mapping[str, Any] = field(default_factory=dict)  # of the jobs that are submitted next
    retry_s: float = RETRY_S
    timing_threads: int | None = None  # of the timings
    jobs: list[QueuedJob] = field(default_factory=list)
    is_cancelled: bool = False

    @property
    def is_busy(self) -> bool:
        """Whether a job has not ended."""
        return bool(self.jobs)

    def prepare_places(self, waiting_tasks: int) -> int:
        """Return the number of waiting tasks: the queue takes all, Slurm decides how many run at a time."""
        return waiting_tasks

    def start_tasks(self, tasks: Sequence[Task]) -> Iterator[TaskEvent]:
        """Queue the tasks as one array of jobs."""
        self.folder.mkdir(parents=True, exist_ok=True)
        jobs = [self._make_job(task) for task in tasks]
        handles = self.submit_jobs(self.options, jobs)
        self.jobs += [QueuedJob(t, h, j.message_file) for t, h, j in zip(tasks, handles, jobs, strict=True)]
        yield from ()

    def poll_events(self) -> Iterator[TaskEvent]:
        """Yield the new messages of all jobs as events, then wait."""
        alive_ids = self.list_alive([job.handle for job in self.jobs]) if self.jobs else set()
        for job in list(self.jobs):
            is_alive = alive_ids is None or job.handle.job_id in alive_ids
            yield from self._handle_messages(job, is_alive)
            if job in self.jobs and not is_alive:
                yield from self._handle_absence(job)
        time.sleep(POLL_S)

    def cancel_tasks(self, *, at_once: bool) -> None:
        """Remove all jobs from the queue; those that run save first. Slurm kills those that take too long."""
        if not self.is_cancelled:
            for job in self.jobs:
                with suppress(OSError, subprocess.SubprocessError):
                    job.handle.cancel(check=False)
        self.is_cancelled = self.is_cancelled or bool(self.jobs)

    def shut_down(self) -> None:
        """Remove the jobs that are left from the queue."""
        self.cancel_tasks(at_once=False)

    def _make_job(self, task: Task) -> SlurmJob:
        kind = "timing" if task.timing else "run"
        message_file = self.folder / f"{kind}-{task.digest}-{time.monotonic_ns()}.jsonl"
        timing_threads = None if task.timing else self.timing_threads
        return SlurmJob(RemoteTask(task, self.settings, self.cpus, timing_threads), message_file)

    def _handle_messages(self, job: QueuedJob, is_alive: bool) -> Iterator[TaskEvent]:
        """Yield a job's new messages as events. That it was stopped is not its end if Slurm can begin it again."""
        for message in job.read_messages():
            if message["event"] == "began":
                self._note_start(job, message)
            event = events.parse_message(job.task, message)
            may_begin_again = is_alive and not self.is_cancelled
            if isinstance(event, TaskEnded) and event.status == "KILLED" and may_begin_again:
                job.last_ending = event
            elif isinstance(event, TaskEnded | TaskWaiting):
                yield from self._finish_job(job, event)
            elif event is not None:
                yield event

    def _note_start(self, job: QueuedJob, message: Message) -> None:
        """Note that a job began, perhaps not for the first time; runs use the speeds timed with a timing's threads."""
        job.has_started, job.last_ending = True, None
        if job.task.timing:
            self.timing_threads = message["threads"]

    def _handle_absence(self, job: QueuedJob) -> Iterator[TaskEvent]:
        """Yield the end of a job that left the queue; without a message it has some time, as disks are slow."""
        job.gone_since = job.gone_since or time.monotonic()
        is_silent_too_long = time.monotonic() - job.gone_since > SILENCE_S
        if job.last_ending or self.is_cancelled or is_silent_too_long:
            yield from self._finish_job(job, job.last_ending or self._make_silent_ending(job))

    def _finish_job(self, job: QueuedJob, event: TaskEnded | TaskWaiting) -> Iterator[TaskEvent]:
        self.jobs.remove(job)
        if job.has_started or not self.is_cancelled:
            yield event

    def _make_silent_ending(self, job: QueuedJob) -> TaskEnded:
        if self.is_cancelled:
            return events.make_stopped_event(job.task)
        problem = f"job {job.handle.job_id} left the queue without a message"
        events.append_to_log(self.settings.runs / job.task.digest, problem)
        return TaskEnded(job.task, "KILLED", problem, f"{job.handle.paths.stderr} may say more")


def list_queued_ids(handles: Sequence[Any]) -> set[str] | None:
    """Return the ids of those jobs that Slurm still has, or None if it does not answer; squeue needs no accounting."""
    arrays = sorted({handle.job_id.partition("_")[0] for handle in handles})
    arguments = ["squeue", "--noheader", "--array", "--jobs", ",".join(arrays), "--format", "%A %F_%K %T"]
    try:
        answer = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    if answer.returncode and "Invalid job id" not in answer.stderr:
        return None
    rows = [line.split() for line in answer.stdout.splitlines() if line.strip()]
    return {name for number, member, state in rows if state not in ENDED_STATES for name in (number, member)}


def list_local_ids(handles: Sequence[Any]) -> set[str] | None:
    """Return the ids of the unfinished jobs that submitit does on this machine."""
    return {handle.job_id for handle in handles if not handle.done()}
