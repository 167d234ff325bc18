"""The worker processes as their parent sees them: hired, given a task, heard, asked to stop, sent home."""

import json
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attncli.errors import RunFailedError
from attncli.jobs import devices
from attncli.jobs.event import Task
from attncli.jobs.told import Message

HOME_S = 30.0  # to end after the last task
GRACE_S = 120.0  # to save a task that is to be stopped
STILLBORN = 3  # workers in a row that are killed before they are ready


@dataclass(frozen=True)
class Place:
    """Where runs and their store are; `decorate` names what draws a run's pictures, as `package.module:function`."""

    runs: Path
    uri: str | None
    decorate: str = ""


class Worker:
    """One process. `task` is what it is at, `ready` whether it has told that it listens."""

    def __init__(self, place: Place, environment: Mapping[str, str], inbox: "queue.SimpleQueue[Any]") -> None:
        self.task: Task | None = None
        self.ready = False
        self.threads = 0
        self.asked_to_stop = False
        self.last_words = "without a word"  # once it has ended: the last line that it wrote outside of any run
        self._words = tempfile.TemporaryFile("w+")  # noqa: SIM115 - open as long as the process
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "attncli.jobs.worker",
                json.dumps({"runs": str(place.runs), "uri": place.uri, "decorate": place.decorate}),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            env=environment,
            text=True,
            start_new_session=True,  # a Ctrl-C in the terminal is the parent's to pass on
        )
        self._ear = threading.Thread(target=self._listen, args=(inbox,), daemon=True)
        self._ear.start()

    def _listen(self, inbox: "queue.SimpleQueue[Any]") -> None:
        """Every event of the process into the inbox, None when there will be no more."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with suppress(json.JSONDecodeError):  # cut off by a kill
                inbox.put((self, json.loads(line)))
        inbox.put((self, None))

    def give(self, task: Task, threads: int | None) -> None:
        """Hand over a task; a process that has died meanwhile is noticed by its silence."""
        self.task = task
        order = {
            "recipe": task.recipe.model_dump(mode="json"),
            "timing": task.timing,
            "tags": dict(task.tags),
            "threads": threads,
        }
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(order) + "\n")
            self.process.stdin.flush()

    def stop(self) -> None:
        """Ask the process to save what it has and end."""
        self.asked_to_stop = True
        self.process.send_signal(signal.SIGTERM)

    def dismiss(self) -> None:
        """Let the process end: there are no more tasks."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()

    def reap(self, timeout: float) -> int:
        """The exit code of the process, which is killed where it does not end in time; then all is closed."""
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._ear.join(HOME_S)
        self._words.seek(0)
        self.last_words = ([line for line in self._words.read().splitlines() if line.strip()] or [self.last_words])[-1]
        self.dismiss()
        assert self.process.stdout is not None
        for file in (self.process.stdout, self._words):
            file.close()
        return self.process.returncode


class Crew:
    """Up to `size` workers and their common inbox."""

    def __init__(self, size: int, place: Place) -> None:
        self.size = size
        self.workers: dict[int, Worker] = {}  # by place in the crew, which decides over the GPU
        self._place = place
        self._stillborn = 0
        self._pressed_at: float | None = None
        self._inbox: queue.SimpleQueue[tuple[Worker, Message | None]] = queue.SimpleQueue()

    def hire(self, wanted: int) -> None:
        """Have `wanted` workers, or as many as the crew may have."""
        for number in range(self.size):
            if len(self.workers) < wanted and number not in self.workers:
                environment = devices.environment(number, self.size)
                self.workers[number] = Worker(self._place, environment, self._inbox)

    @property
    def idle(self) -> list[Worker]:
        """Those that could take a task."""
        return [w for w in self.workers.values() if w.ready and w.task is None and not w.asked_to_stop]

    @property
    def busy(self) -> list[Worker]:
        """Those that have one."""
        return [w for w in self.workers.values() if w.task is not None]

    def hear(self, timeout: float) -> Iterator[tuple[Worker, Message | None]]:
        """What the workers told, waiting for the first word at most `timeout` seconds."""
        with suppress(queue.Empty):
            yield self._inbox.get(timeout=timeout)
            while True:
                yield self._inbox.get_nowait()

    def lose(self, worker: Worker) -> int:
        """Take a worker that has ended out of the crew; its exit code.

        Raises RunFailedError where workers do not even start.
        """
        self.workers = {number: w for number, w in self.workers.items() if w is not worker}
        code = worker.reap(HOME_S)
        self._stillborn = 0 if worker.ready else self._stillborn + 1
        if not worker.ready and (code >= 0 or self._stillborn > STILLBORN):
            raise RunFailedError(f"a worker did not start: {worker.last_words}", "`attncli doctor` looks for why")
        return code

    def press(self, hurry: bool) -> None:
        """Have every task saved and ended; called again and again, it kills what takes too long, or all in a hurry."""
        now = time.monotonic()
        if self._pressed_at is None:
            self._pressed_at = now
            for worker in self.busy:
                worker.stop()
        if hurry or now - self._pressed_at > GRACE_S:
            for worker in self.busy:
                worker.process.kill()

    def go_home(self) -> None:
        """End all workers: those that are at a task, where an error ends the sweep, save it first."""
        for worker in self.workers.values():
            worker.dismiss()
            if not worker.ready:
                worker.process.kill()
        until = time.monotonic() + HOME_S
        for worker in self.workers.values():
            worker.reap(max(0.1, until - time.monotonic()))
        self.workers = {}
