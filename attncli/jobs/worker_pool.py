"""A pool of worker processes, seen from the parent."""

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from attncli.errors import RunFailedError
from attncli.jobs import resources
from attncli.jobs.events import Message, Task
from attncli.system.process_groups import OWN_GROUP
from attncli.track import RunStore

EXIT_S = 30.0  # time to end after the last task
GRACE_S = 120.0  # time to save a task that is stopped
MAX_FAILED_STARTS = 3  # workers in a row that are killed before they are ready


@dataclass(frozen=True)
class WorkerSettings:
    """Where runs are stored; `figure_hook` (`package.module:function`) draws a run's pictures."""

    run_store: RunStore
    figure_hook: str = ""

    @property
    def runs(self) -> Path:
        """The folder of runs."""
        return self.run_store.runs

    def with_absolute_runs(self) -> "WorkerSettings":
        """Return the same settings for a process that starts in another folder."""
        return replace(self, run_store=replace(self.run_store, runs=self.runs.absolute()))


class WorkerProcess:
    """One process. `task` is its current task; `is_ready` says whether it waits for tasks."""

    def __init__(
        self, settings: WorkerSettings, environment: Mapping[str, str], inbox: "queue.SimpleQueue[Any]"
    ) -> None:
        self.task: Task | None = None
        self.is_ready = False
        self.threads = 0
        self.is_stopping = False
        self.last_line = "without a word"  # after its end: the last line that it wrote outside of any run
        self._stderr_file = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 - open as long as the process runs
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "attncli.jobs.worker_main",
                json.dumps(
                    {
                        "runs": str(settings.runs),
                        "tracking_uri": settings.run_store.tracking_uri,
                        "figure_hook": settings.figure_hook,
                    }
                ),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr_file,
            env=environment,
            encoding="utf-8",
            errors="replace",
            **OWN_GROUP,  # the parent passes on a Ctrl-C in the terminal
        )
        self._reader = threading.Thread(target=self._read_messages, args=(inbox,), daemon=True)
        self._reader.start()

    def _read_messages(self, inbox: "queue.SimpleQueue[Any]") -> None:
        """Put every message of the process into the inbox, then None."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with suppress(json.JSONDecodeError):  # a line cut off by a kill
                inbox.put((self, json.loads(line)))
        inbox.put((self, None))

    def give_task(self, task: Task, threads: int | None) -> None:
        """Send a task; if the process has died meanwhile, its closed output shows it."""
        self.task = task
        request = {
            "recipe": task.recipe.model_dump(mode="json"),
            "digest": task.digest,
            "timing": task.timing,
            "tags": dict(task.tags),
            "threads": threads,
        }
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()

    def request_stop(self) -> None:
        """Ask the process to save a checkpoint and end."""
        self.is_stopping = True
        if os.name == "posix":
            self.process.send_signal(signal.SIGTERM)
        else:
            self.close_stdin()  # there a signal would end it at once; without stdin it interrupts itself

    def close_stdin(self) -> None:
        """Let the process end, as there are no more tasks."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()

    def collect_exit_code(self, timeout: float) -> int:
        """Return the exit code of the process and close its pipes; kill it if it does not end in time."""
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join(EXIT_S)
        self._stderr_file.seek(0)
        lines = [line for line in self._stderr_file.read().splitlines() if line.strip()]
        self.last_line = lines[-1] if lines else self.last_line
        self.close_stdin()
        assert self.process.stdout is not None
        for file in (self.process.stdout, self._stderr_file):
            file.close()
        return self.process.returncode


class WorkerPool:
    """Up to `size` workers with a common inbox."""

    def __init__(self, size: int, settings: WorkerSettings) -> None:
        self.size = size
        self.workers: dict[int, WorkerProcess] = {}  # by place in the pool, which determines the GPU
        self._settings = settings
        self._failed_starts = 0
        self._cancelled_at: float | None = None
        self._inbox: queue.SimpleQueue[tuple[WorkerProcess, Message | None]] = queue.SimpleQueue()

    def spawn_workers(self, wanted_workers: int) -> None:
        """Start workers until there are `wanted_workers`, at most `size`."""
        for number in range(self.size):
            if len(self.workers) < wanted_workers and number not in self.workers:
                environment = resources.build_job_environment(number, self.size)
                self.workers[number] = WorkerProcess(self._settings, environment, self._inbox)

    @property
    def idle_workers(self) -> list[WorkerProcess]:
        """The workers that can take a task."""
        return [w for w in self.workers.values() if w.is_ready and w.task is None and not w.is_stopping]

    @property
    def busy_workers(self) -> list[WorkerProcess]:
        """The workers that have a task."""
        return [w for w in self.workers.values() if w.task is not None]

    def poll_messages(self, timeout: float) -> Iterator[tuple[WorkerProcess, Message | None]]:
        """Yield the workers' messages; wait for the first at most `timeout` seconds."""
        with suppress(queue.Empty):
            yield self._inbox.get(timeout=timeout)
            while True:
                yield self._inbox.get_nowait()

    def remove_worker(self, worker: WorkerProcess) -> int:
        """Remove a worker that has ended from the pool and return its exit code.

        Raises RunFailedError if workers do not even start.
        """
        self.workers = {number: other for number, other in self.workers.items() if other is not worker}
        exit_code = worker.collect_exit_code(EXIT_S)
        self._failed_starts = 0 if worker.is_ready else self._failed_starts + 1
        if not worker.is_ready and (exit_code >= 0 or self._failed_starts > MAX_FAILED_STARTS):
            raise RunFailedError(f"a worker did not start: {worker.last_line}", "`attncli doctor` looks for the reason")
        return exit_code

    def cancel_tasks(self, at_once: bool) -> None:
        """Ask every task to save and end. Call it repeatedly: it kills slow tasks, or all if `at_once`."""
        now = time.monotonic()
        if self._cancelled_at is None:
            self._cancelled_at = now
            for worker in self.busy_workers:
                worker.request_stop()
        if at_once or now - self._cancelled_at > GRACE_S:
            for worker in self.busy_workers:
                worker.process.kill()

    def shut_down(self) -> None:
        """End all workers; those with a task save it first."""
        for worker in self.workers.values():
            worker.close_stdin()
            if not worker.is_ready:
                worker.process.kill()
        deadline = time.monotonic() + EXIT_S
        for worker in self.workers.values():
            worker.collect_exit_code(max(0.1, deadline - time.monotonic()))
        self.workers = {}
