"""The executor of a Slurm cluster: the runs are one array of jobs, made by submitit.

A job does its run in a worker process and writes what that says to a file on the disk that all nodes share, where the
sweep reads it. A job that runs out of time (SIGUSR2, which submitit asks Slurm for), or whose node is taken for another
(SIGTERM), has its run saved first; it is queued again and goes on from the checkpoint.
"""

import json
import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from attncli import track
from attncli.errors import UserError
from attncli.jobs import told
from attncli.jobs.crew import Place
from attncli.jobs.errand import Errand
from attncli.jobs.event import Ended, Event, Task, Waiting
from attncli.jobs.stop import Stop
from attncli.jobs.told import Message
from attncli.jobs.work import Executor

FOLDER = ".slurm"  # in the folder of runs: submitit's files, and what the jobs say
LOOK_S = 1.0
AGAIN_S = 30.0  # until a run that another process was at is queued again
SILENCE_S = 20.0  # until a job that left the queue without a word is given up: disks of clusters are slow to tell
TAKEN_S = 1800.0  # that a job which was told to leave waits for Slurm to end it
REQUEUES = 1000  # every leg goes on from the last one's checkpoint
OVER = {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "OUT_OF_MEMORY", "TIMEOUT"}
DEFAULTS = {"time": 240, "signal_delay_s": 120, "wckey": ""}  # minutes, seconds


class Job:
    """What a job does: the errand, with its words written to a file. submitit calls it, and `checkpoint` on USR2."""

    def __init__(self, errand: Errand, words: Path) -> None:
        self.errand = errand
        self.words = words

    def __call__(self) -> str:
        """Do the errand; how it ended. A job that was told to leave waits for its end, lest Slurm take it as done."""
        told_to_leave: list[int] = []

        def leave(number: int, frame: FrameType | None) -> None:
            told_to_leave.append(number)
            self.errand.stop()

        signal.signal(signal.SIGTERM, leave)
        last: Message = {}
        for last in self.errand.messages():
            self._say(last)
            if last["event"] == "began":
                self._say({"event": "stage", "text": f"on {os.uname().nodename}"})
        if told_to_leave:
            time.sleep(TAKEN_S)
        return str(last["status"])

    def checkpoint(self) -> Any:
        """Save, and have the same done again."""
        from submitit.helpers import DelayedSubmission

        self.errand.stop()
        self.errand.wait()
        self._say({"event": "stage", "text": "saved, in the queue again"})
        return DelayedSubmission(self)

    def _say(self, message: Message) -> None:
        with self.words.open("a", encoding="utf-8") as file:
            file.write(json.dumps(message) + "\n")


def on_slurm(
    place: Place,
    *,
    jobs: int | None = None,
    cpus: int = 1,
    gpus: int = 0,
    options: Mapping[str, Any] | None = None,
    cluster: str = "slurm",
) -> Executor:
    """An executor that queues every run as a job with `cpus` cores and `gpus` GPUs, at most `jobs` at a time.

    `options` are sbatch's as submitit names them (partition, account, time in minutes, ...). Timings are jobs before,
    one after the other, each with a node for itself. `cluster` is submitit's name of what does the jobs: "local" does
    them here, all at once. Raises UserError without submitit or Slurm, and for options that there are not.
    """
    needs: dict[str, Any] = {"cpus_per_task": cpus, **({"gpus_per_node": gpus} if gpus else {})}
    chosen = DEFAULTS | needs | ({"array_parallelism": jobs} if jobs else {}) | dict(options or {})
    return partial(_execute, replace(place, runs=place.runs.absolute()), cpus, cluster, chosen)


def _execute(
    place: Place, cpus: int, cluster: str, options: Mapping[str, Any], tasks: Sequence[Task], stop: Stop
) -> Iterator[Event]:
    folder = place.runs / FOLDER / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    queue_ = Queue(place, cpus, folder, partial(_submit, cluster, folder), at_work if cluster == "local" else in_queue)
    alone = {**options, "exclusive": True, "array_parallelism": 1}
    yield from queue_.drive([t for t in tasks if t.timing], stop, alone)
    yield from queue_.drive([t for t in tasks if not t.timing], stop, options)


def _submit(cluster: str, folder: Path, options: Mapping[str, Any], jobs: Sequence[Job]) -> list[Any]:
    """submitit's handles of the jobs, which are now in the queue. Raises UserError where that cannot be."""
    try:
        import submitit
    except ImportError as error:
        raise UserError("--on slurm: submitit is not installed", "pip install 'attncli[slurm]'") from error
    made: Any
    try:
        if cluster == "local":
            made = submitit.LocalExecutor(folder=folder, max_num_timeout=REQUEUES)
            made.update_parameters(timeout_min=options["time"], signal_delay_s=options["signal_delay_s"])
        else:
            made = submitit.SlurmExecutor(folder=folder, max_num_timeout=REQUEUES)
            made.update_parameters(job_name="attncli", **options)
        return list(made.submit_array(jobs))
    except RuntimeError as error:
        raise UserError(f"--on slurm: {error}", "call it on a machine that has sbatch and srun") from error
    except (ValueError, OSError, submitit.core.utils.FailedJobError) as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise UserError(f"--on slurm: {lines[-1]}", "sbatch's options are given by --slurm KEY=VALUE") from error


@dataclass
class Queued:
    """A job as the sweep sees it."""

    task: Task
    handle: Any  # submitit's
    words: Path
    read: int = 0  # bytes of `words`
    last: Ended | None = None  # that it was stopped, which may be followed by another leg
    began: bool = False
    gone: float | None = None  # clock at which it was seen to have left the queue

    def messages(self) -> Iterator[Message]:
        """What it has said since it was last asked, whole lines alone."""
        with suppress(FileNotFoundError), self.words.open("rb") as file:
            file.seek(self.read)
            told_, newline, _ = file.read().rpartition(b"\n")
            self.read += len(told_) + len(newline)
            yield from map(json.loads, told_.splitlines())


@dataclass
class Queue:
    """The jobs of one sweep: `submit(options, jobs)` queues some, `there(handles)` tells which have not ended."""

    place: Place
    cpus: int
    folder: Path
    submit: Callable[[Mapping[str, Any], Sequence[Job]], list[Any]]
    there: Callable[[Sequence[Any]], set[str] | None]
    threads: int | None = None  # of the timings
    jobs: list[Queued] = field(default_factory=list)
    later: deque[tuple[float, Task]] = field(default_factory=deque)
    called_off: bool = False

    def drive(self, tasks: Sequence[Task], stop: Stop, options: Mapping[str, Any]) -> Iterator[Event]:
        """All tasks done; a wish to stop takes the jobs out of the queue, and those at work save first."""
        if not stop.reason:
            yield from self._enter(tasks, options)
        try:
            while self.jobs or self.later:
                if stop.reason:
                    self._call_off()
                due = [task for at, task in self.later if at <= time.monotonic()]
                self.later = deque((at, task) for at, task in self.later if at > time.monotonic())
                yield from self._enter(due, options)
                there = self.there([job.handle for job in self.jobs]) if self.jobs else set()
                for job in list(self.jobs):
                    yield from self._hear(job, there is None or job.handle.job_id in there)
                time.sleep(LOOK_S)
        finally:
            self._call_off()

    def _enter(self, tasks: Sequence[Task], options: Mapping[str, Any]) -> Iterator[Event]:
        """Queue the tasks; what another sweep has finished meanwhile is told and passed over."""
        done = [t for t in tasks if not t.timing and track.finished(self.place.runs / t.digest)]
        yield from (Ended(task, "FINISHED") for task in done)
        todo = [t for t in tasks if t not in done]
        if not todo:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        jobs = []
        for task in todo:
            kind = "timing" if task.timing else "run"
            words = self.folder / f"{kind}-{task.digest}-{time.monotonic_ns()}.jsonl"
            jobs.append(Job(Errand(task, self.place, self.cpus, None if task.timing else self.threads), words))
        handles = self.submit(options, jobs)
        self.jobs += [Queued(t, h, j.words) for t, h, j in zip(todo, handles, jobs, strict=True)]

    def _hear(self, job: Queued, there: bool) -> Iterator[Event]:
        """What a job has said; its end, where it has left the queue or will not be queued again."""
        for message in job.messages():
            if message["event"] == "began":
                job.began, job.last = True, None
                self.threads = message["threads"] if job.task.timing else self.threads
            event = told.event(job.task, message)
            if isinstance(event, Ended) and event.status == "KILLED" and there and not self.called_off:
                job.last = event
            elif isinstance(event, Ended | Waiting):
                yield from self._ended(job, event)
            elif event is not None:
                yield event
        if job in self.jobs and not there:
            job.gone = job.gone or time.monotonic()
            if job.last or self.called_off or time.monotonic() - job.gone > SILENCE_S:
                yield from self._ended(job, job.last or self._silent(job))

    def _ended(self, job: Queued, event: Ended | Waiting) -> Iterator[Event]:
        self.jobs.remove(job)
        if isinstance(event, Waiting):
            self.later.append((time.monotonic() + AGAIN_S, job.task))
        if job.began or not self.called_off:
            yield event

    def _silent(self, job: Queued) -> Ended:
        if self.called_off:
            return told.stopped(job.task)
        problem = f"job {job.handle.job_id} left the queue without a word"
        told.note(self.place.runs / job.task.digest, problem)
        return Ended(job.task, "KILLED", problem, f"{job.handle.paths.stderr} may say more")

    def _call_off(self) -> None:
        self.later.clear()
        if not self.called_off:
            for job in self.jobs:
                with suppress(OSError, subprocess.SubprocessError):
                    job.handle.cancel(check=False)
        self.called_off = self.called_off or bool(self.jobs)


def in_queue(handles: Sequence[Any]) -> set[str] | None:
    """The ids of those jobs that Slurm still has, None where it does not answer; squeue needs no accounting."""
    arrays = sorted({handle.job_id.partition("_")[0] for handle in handles})
    words = ["squeue", "--noheader", "--array", "--jobs", ",".join(arrays), "--format", "%A %F_%K %T"]
    try:
        answer = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    if answer.returncode and "Invalid job id" not in answer.stderr:
        return None
    rows = [line.split() for line in answer.stdout.splitlines() if line.strip()]
    return {name for number, member, state in rows if state not in OVER for name in (number, member)}


def at_work(handles: Sequence[Any]) -> set[str] | None:
    """The same of jobs that submitit does on this machine."""
    return {handle.job_id for handle in handles if not handle.done()}
