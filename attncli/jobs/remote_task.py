"""One task done by a worker process on the machine where this is called: a cluster's node, a job of a queue."""

import os
import queue
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from attncli.jobs import events
from attncli.jobs.events import Message, Task
from attncli.jobs.worker_pool import EXIT_S, GRACE_S, WorkerProcess, WorkerSettings
from attncli.system.files import write_atomically
from attncli.system.gpu_support import DEVICE_VARIABLE, read_requested_device

POLL_S = 0.5  # a request to stop is noticed this often
MAX_FILE_BYTES = 64 << 20  # bytes; larger files of a run are not sent back


@dataclass
class RemoteTask:
    """A task to do with `cpus` cores; `timing_threads` is the number of threads with which speed was timed before.

    `probe_name` is a file in the folder of runs that the sweep's own machine made. If it is missing, the storage
    is not shared, and the run's files are sent back at the end. `device` is what `--device` asked for where the sweep
    was started: the processes of a cluster that was there before do not inherit that environment.
    """

    task: Task
    settings: WorkerSettings
    cpus: int
    timing_threads: int | None = None
    probe_name: str = ""
    working_dir: str = field(default_factory=os.getcwd)  # to which relative paths of a recipe refer
    device: str = field(default_factory=read_requested_device)
    _worker: WorkerProcess | None = field(default=None, init=False, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state to pickle: without the process."""
        return self.__dict__ | {"_worker": None}

    def run_worker(self) -> Iterator[Message]:
        """Yield the worker's messages until its task ends. On KeyboardInterrupt the worker first saves a checkpoint."""
        with suppress(OSError):
            os.chdir(self.working_dir)
        inbox: queue.SimpleQueue[tuple[WorkerProcess, Message | None]] = queue.SimpleQueue()
        worker = self._worker = WorkerProcess(
            self.settings, build_worker_environment(os.environ, self.cpus, self.device), inbox
        )
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
        """Yield the run's files if storage is not shared, and its ending, which a dead worker could not send."""
        folder = self.settings.runs / self.task.digest
        if last_message is None:
            last_message = events.make_exit_message(exit_code, worker.last_line, stop_requested=worker.is_stopping)
            if not worker.is_stopping:
                events.append_to_log(folder, last_message["problem"])
        if self.probe_name and not (self.settings.runs / self.probe_name).exists():
            yield {"event": "files", "files": pack_run_files(folder)}
        yield last_message

    def request_stop(self) -> None:
        """Ask the worker to save a checkpoint and end."""
        if self._worker:
            self._worker.request_stop()

    def wait_until_saved(self) -> None:
        """Wait until a worker that was asked to stop has saved."""
        if self._worker:
            with suppress(subprocess.TimeoutExpired):
                self._worker.process.wait(GRACE_S)


def run_remote_task(remote_task: RemoteTask) -> Iterator[Message]:
    """Yield the messages of a remote task (clusters take a plain function)."""
    yield from remote_task.run_worker()


def is_path_visible(path: Path) -> bool:
    """Return whether this machine has the file. A call also shows that attncli can be imported there."""
    return path.exists()


def _wait_for_message(inbox: "queue.SimpleQueue[tuple[WorkerProcess, Message | None]]") -> Message | None:
    """Return the next message. Waits in steps, as an interrupt from another thread takes effect only between them."""
    while True:
        with suppress(queue.Empty):
            return inbox.get(timeout=POLL_S)[1]


def build_worker_environment(parent_environment: Mapping[str, str], cpus: int, device: str = "") -> dict[str, str]:
    """Return the environment of a worker that has `cpus` cores and computes on `device` ("": what torch finds)."""
    variables = {name: str(cpus) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    return {**parent_environment, **variables, **({DEVICE_VARIABLE: device} if device else {})}


def pack_run_files(folder: Path) -> dict[str, bytes]:
    """Return the files of a run's folder by name, without lock and checkpoint."""
    paths = [p for p in folder.glob("*") if p.is_file() and p.name != ".lock"]
    return {p.name: p.read_bytes() for p in paths if p.stat().st_size < MAX_FILE_BYTES}


def unpack_run_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files that `pack_run_files` read elsewhere, the result last, as it shows that the run is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in sorted(files, key=lambda n: n == "result.json"):
        write_atomically(folder / name, files[name])


def create_probe_file(runs: Path) -> Path:
    """Create a file in the folder of runs, by which other machines see that they have the same folder."""
    runs.mkdir(parents=True, exist_ok=True)
    descriptor, path = tempfile.mkstemp(prefix=".here-", dir=runs)
    os.close(descriptor)
    return Path(path)
