"""One task done by a worker process wherever this is called: on a node of a cluster, inside a job of a queue."""

import os
import queue
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from attncli.jobs import told
from attncli.jobs.events import Task
from attncli.jobs.told import Message
from attncli.jobs.worker_pool import EXIT_S, GRACE_S, WorkerProcess, WorkerSettings
from attncli.system.files import write_atomically

POLL_S = 0.5  # a wish to stop is noticed this often
MAX_FILE_BYTES = 64 << 20  # bytes; larger files of a run stay if they are


@dataclass
class RemoteTask:
    """A task to be done with `cpus` cores; `timing_threads` is the number with which speed was timed before.

    `probe_name` is a file in the folder of runs that the sweep's own machine made: if it is not seen, the storage
    is not shared, and the run's files are sent back at the end.
    """

    task: Task
    settings: WorkerSettings
    cpus: int
    timing_threads: int | None = None
    probe_name: str = ""
    working_dir: str = field(default_factory=os.getcwd)  # in which relative paths of a recipe mean something
    _worker: WorkerProcess | None = field(default=None, init=False, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        """Without the process."""
        return self.__dict__ | {"_worker": None}

    def run_worker(self) -> Iterator[Message]:
        """Yield what the worker says, to the end of its task; on KeyboardInterrupt it saves what it has first."""
        with suppress(OSError):
            os.chdir(self.working_dir)
        inbox: queue.SimpleQueue[tuple[WorkerProcess, Message | None]] = queue.SimpleQueue()
        worker = self._worker = WorkerProcess(self.settings, build_worker_environment(os.environ, self.cpus), inbox)
        worker.give_task(self.task, self.timing_threads)
        grace, exit_code, last_message = EXIT_S, 0, None
        try:
            while (message := _wait_for_message(inbox)) is not None and message["event"] != "ended":
                yield {"event": "began", "threads": message["threads"]} if message["event"] == "ready" else message
            last_message = message
        except KeyboardInterrupt:
            worker.request_stop()
            grace = GRACE_S
            raise
        finally:
            worker.close_stdin()
            exit_code = worker.collect_exit_code(grace)
        yield from self._yield_ending(last_message, exit_code, worker)

    def _yield_ending(self, last_message: Message | None, exit_code: int, worker: WorkerProcess) -> Iterator[Message]:
        """Yield the run's files if they are wanted, and how it ended, which a dead worker did not say."""
        folder = self.settings.runs / self.task.digest
        if last_message is None:
            last_message = told.make_exit_message(exit_code, worker.last_line, stop_requested=worker.is_stopping)
            if not worker.is_stopping:
                told.append_to_log(folder, last_message["problem"])
        if self.probe_name and not (self.settings.runs / self.probe_name).exists():
            yield {"event": "files", "files": pack_run_files(folder)}
        yield last_message

    def request_stop(self) -> None:
        """Have the worker save what it has; it ends soon."""
        if self._worker:
            self._worker.request_stop()

    def wait_until_saved(self) -> None:
        """Wait until a worker that was told to stop has saved."""
        if self._worker:
            with suppress(subprocess.TimeoutExpired):
                self._worker.process.wait(GRACE_S)


def run_remote_task(remote_task: RemoteTask) -> Iterator[Message]:
    """Yield an errand's messages (a plain function is what clusters take)."""
    yield from remote_task.run_worker()


def is_path_visible(path: Path) -> bool:
    """Return whether this machine has the file, and can do errands at all: this module was imported for the question."""
    return path.exists()


def _wait_for_message(inbox: "queue.SimpleQueue[tuple[WorkerProcess, Message | None]]") -> Message | None:
    """Return the next message; waits in steps, as an interruption from another thread is heard between them alone."""
    while True:
        with suppress(queue.Empty):
            return inbox.get(timeout=POLL_S)[1]


def build_worker_environment(parent_environment: Mapping[str, str], cpus: int) -> dict[str, str]:
    """Return the environment of a worker that has `cpus` cores."""
    return dict(parent_environment) | {name: str(cpus) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}


def pack_run_files(folder: Path) -> dict[str, bytes]:
    """Return the files of a run's folder by name, without lock and checkpoint."""
    paths = [p for p in folder.glob("*") if p.is_file() and p.name != ".lock"]
    return {p.name: p.read_bytes() for p in paths if p.stat().st_size < MAX_FILE_BYTES}


def unpack_run_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files that `pack_run_files` read elsewhere; the result is the last, as it says that all is there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in sorted(files, key=lambda n: n == "result.json"):
        write_atomically(folder / name, files[name])


def create_probe_file(runs: Path) -> Path:
    """Return a new file in the folder of runs, by which other machines see that theirs is the same folder."""
    runs.mkdir(parents=True, exist_ok=True)
    descriptor, path = tempfile.mkstemp(prefix=".here-", dir=runs)
    os.close(descriptor)
    return Path(path)
