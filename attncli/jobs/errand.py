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
from attncli.jobs.crew import GRACE_S, HOME_S, Place, Worker
from attncli.jobs.event import Task
from attncli.jobs.told import Message

HEAR_S = 0.5  # a wish to stop is noticed this often
ENOUGH = 64 << 20  # bytes; larger files of a run stay where they are


@dataclass
class Errand:
    """A task to be done with `cpus` cores; `threads` is the number with which speed was timed before.

    `here` is a file in the folder of runs that the sweep's own machine made: where it is not seen, the storage is not
    shared, and the run's files are sent back at the end.
    """

    task: Task
    place: Place
    cpus: int
    threads: int | None = None
    here: str = ""
    folder: str = field(default_factory=os.getcwd)  # in which relative paths of a recipe mean something
    _worker: Worker | None = field(default=None, init=False, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        """Without the process."""
        return self.__dict__ | {"_worker": None}

    def messages(self) -> Iterator[Message]:
        """What the worker says, to the end of its task; on KeyboardInterrupt it saves what it has first."""
        with suppress(OSError):
            os.chdir(self.folder)
        inbox: queue.SimpleQueue[tuple[Worker, Message | None]] = queue.SimpleQueue()
        worker = self._worker = Worker(self.place, environment(os.environ, self.cpus), inbox)
        worker.give(self.task, self.threads)
        grace, code, last = HOME_S, 0, None
        try:
            while (message := _next(inbox)) is not None and message["event"] != "ended":
                yield {"event": "began", "threads": message["threads"]} if message["event"] == "ready" else message
            last = message
        except KeyboardInterrupt:
            worker.stop()
            grace = GRACE_S
            raise
        finally:
            worker.dismiss()
            code = worker.reap(grace)
        yield from self._end(last, code, worker)

    def _end(self, last: Message | None, code: int, worker: Worker) -> Iterator[Message]:
        """The run's files where they are wanted, and how it ended, which a dead worker did not say."""
        folder = self.place.runs / self.task.digest
        if last is None:
            last = told.silent(code, worker.last_words, asked=worker.asked_to_stop)
            if not worker.asked_to_stop:
                told.note(folder, last["problem"])
        if self.here and not (self.place.runs / self.here).exists():
            yield {"event": "files", "files": pack(folder)}
        yield last

    def stop(self) -> None:
        """Have the worker save what it has; it ends soon."""
        if self._worker:
            self._worker.stop()

    def wait(self) -> None:
        """Wait until a worker that was told to stop has saved."""
        if self._worker:
            with suppress(subprocess.TimeoutExpired):
                self._worker.process.wait(GRACE_S)


def do(errand: Errand) -> Iterator[Message]:
    """An errand's messages (a plain function is what clusters take)."""
    yield from errand.messages()


def sees(path: Path) -> bool:
    """Whether this machine has the file, and can do errands at all: this module was imported for the question."""
    return path.exists()


def _next(inbox: "queue.SimpleQueue[tuple[Worker, Message | None]]") -> Message | None:
    """The next message; waits in steps, as an interruption from another thread is heard between them alone."""
    while True:
        with suppress(queue.Empty):
            return inbox.get(timeout=HEAR_S)[1]


def environment(given: Mapping[str, str], cpus: int) -> dict[str, str]:
    """The environment of a worker that has `cpus` cores."""
    return dict(given) | {name: str(cpus) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}


def pack(folder: Path) -> dict[str, bytes]:
    """The files of a run's folder by name, without lock and checkpoint."""
    paths = [p for p in folder.glob("*") if p.is_file() and p.name != ".lock"]
    return {p.name: p.read_bytes() for p in paths if p.stat().st_size < ENOUGH}


def unpack(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files that `pack` read elsewhere; the result is the last, as it says that all is there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in sorted(files, key=lambda n: n == "result.json"):
        part = folder / f".{name}.part"
        part.write_bytes(files[name])
        part.replace(folder / name)


def mark(runs: Path) -> Path:
    """A new file in the folder of runs, by which other machines see that theirs is the same folder."""
    runs.mkdir(parents=True, exist_ok=True)
    number, path = tempfile.mkstemp(prefix=".here-", dir=runs)
    os.close(number)
    return Path(path)
