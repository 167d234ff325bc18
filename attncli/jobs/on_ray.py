"""The executor of a Ray cluster: every run is a Ray task that takes its cores and GPUs, wherever they are free.

A task does its run in a worker process of its own and streams back what that says. The run of a node that is lost is
given to another, which goes on from the checkpoint where the nodes share the folder of runs, else begins again; then
the run's files come back with its end.
"""

import logging
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from attncli import track
from attncli.errors import RunFailedError, UserError
from attncli.jobs import errand, told
from attncli.jobs.crew import Place
from attncli.jobs.errand import Errand
from attncli.jobs.event import Began, Ended, Event, Stage, Task, Waiting, Warned
from attncli.jobs.stop import Stop
from attncli.jobs.told import Message
from attncli.jobs.work import Executor

LISTEN_S = 0.3
AGAIN_S = 5.0  # until a run that another process was at is given out again
LIVES = 10  # nodes that one run may lose


def on_ray(place: Place, *, jobs: int | None = None, cpus: int = 1, gpus: float = 0) -> Executor:
    """An executor on the cluster that RAY_ADDRESS names, else the one of this machine, else one made for the sweep.

    Each run takes `cpus` cores and `gpus` GPUs, and at most `jobs` run at a time (None: as many as the cluster takes).
    Timings come first, each with a whole node for itself. Raises UserError without Ray, where no node could ever take
    a run, or where the nodes share neither the folder of runs nor a tracking server.
    """
    return partial(_execute, replace(place, runs=place.runs.absolute()), jobs, {"num_cpus": cpus, "num_gpus": gpus})


def _execute(
    place: Place, jobs: int | None, needs: Mapping[str, Any], tasks: Sequence[Task], stop: Stop
) -> Iterator[Event]:
    with _connected() as ray, _marked(place) as here:
        shared = _look(ray, place, needs, here)
        timings = [t for t in tasks if t.timing] if shared else []  # elsewhere a run times itself
        flock = Flock(ray, place, needs, here)
        yield from flock.drive(timings, stop, limit=1)
        yield from flock.drive([t for t in tasks if not t.timing], stop, limit=jobs)


@contextmanager
def _connected() -> Iterator[Any]:
    """Ray, connected; it keeps its fingers off our signals and, as it tells of lost nodes there, off stdout."""
    try:
        import ray
    except ImportError as error:
        raise UserError("--on ray: Ray is not installed", "pip install 'attncli[ray]'") from error
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(f"--on ray: {_line(error)}", "`ray start --head`, or set RAY_ADDRESS=HOST:PORT") from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)
    try:
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
            yield ray
    finally:
        ray.shutdown()


@contextmanager
def _marked(place: Place) -> Iterator[str]:
    """The name of a file in the folder of runs, by which a node sees whether it has the same folder."""
    here = errand.mark(place.runs)
    try:
        yield here.name
    finally:
        here.unlink(missing_ok=True)


def _look(ray: Any, place: Place, needs: Mapping[str, Any], here: str) -> bool:
    """Whether all nodes see the folder of runs. Raises UserError for a cluster that cannot do the sweep."""
    nodes = [n for n in ray.nodes() if n["Alive"]]
    if not any(_room(node, needs) for node in nodes):
        most = max(n["Resources"].get("CPU", 0) for n in nodes), max(n["Resources"].get("GPU", 0) for n in nodes)
        asked = f"{needs['num_cpus']} cores and {needs['num_gpus']} GPUs"
        raise UserError(f"--on ray: no node has {asked}", f"at most {most[0]:g} and {most[1]:g}: --cpus, --gpus")
    sees = ray.remote(num_cpus=0, max_retries=3)(errand.sees)
    asked_all = [sees.options(scheduling_strategy=_at(node)).remote(place.runs / here) for node in nodes]
    try:
        shared = all(ray.get(asked_all, timeout=120))
    except ray.exceptions.RayError as error:
        raise RunFailedError(
            f"--on ray: {_line(error)}", "the same attncli has to be installed on every node"
        ) from error
    if not shared and track.on_disk(place.uri, place.runs):
        raise UserError(
            f"--on ray: the nodes do not share {place.runs}, and the tracking store is a file there",
            "--runs on a shared disk, or --tracking-uri of a server",
        )
    return shared


def _room(node: Mapping[str, Any], needs: Mapping[str, Any]) -> bool:
    has = node["Resources"]
    return bool(has.get("CPU", 0) >= needs["num_cpus"] and has.get("GPU", 0) >= needs["num_gpus"])


def _at(node: Mapping[str, Any], *, soft: bool = True) -> Any:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node_id=node["NodeID"], soft=soft)


def _line(error: BaseException) -> str:
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__


@dataclass
class Going:
    """A task that was given out: whether it has begun, how often its node was lost."""

    task: Task
    lost: int = 0
    began: bool = False


@dataclass
class Flock:
    """The tasks that Ray has, by the stream of what they say."""

    ray: Any
    place: Place
    needs: Mapping[str, Any]
    here: str
    threads: int | None = None  # of the timings
    going: dict[Any, Going] = field(default_factory=dict)
    again: deque[tuple[float, Going]] = field(default_factory=deque)  # to be given out anew, at a time
    called_off: bool = False

    def drive(self, tasks: Sequence[Task], stop: Stop, *, limit: int | None) -> Iterator[Event]:
        """All tasks done, at most `limit` at a time; a wish to stop has those that are at work save first."""
        self.again.extend((0.0, Going(task)) for task in tasks)
        while self.going or (self.again and not stop.reason):
            if stop.reason:
                self._call_off(force=stop.hurry)
            else:
                yield from self._give_out(limit)
            for stream in self.ray.wait(list(self.going), timeout=LISTEN_S)[0] if self.going else ():
                yield from self._hear(stream)
            if not self.going and self.again:
                time.sleep(LISTEN_S)
        self.again.clear()

    def _give_out(self, limit: int | None) -> Iterator[Event]:
        """Hand over what is due; what another sweep has finished meanwhile is told and passed over."""
        for _ in range(len(self.again)):
            at, going = self.again.popleft()
            if at > time.monotonic() or (limit is not None and len(self.going) >= limit):
                self.again.append((at, going))
            elif not going.task.timing and track.finished(self.place.runs / going.task.digest):
                yield Ended(going.task, "FINISHED")
            else:
                self.going[self._send(going.task)] = going

    def _send(self, task: Task) -> Any:
        cpus = max(1, int(self.needs["num_cpus"]))
        options: dict[str, Any] = dict(self.needs)
        if task.timing:
            nodes = [n for n in self.ray.nodes() if n["Alive"] and _room(n, self.needs)]
            whole = max(nodes, key=lambda n: n["Resources"]["CPU"]) if nodes else None
            if whole:
                options |= {"num_cpus": whole["Resources"]["CPU"], "scheduling_strategy": _at(whole)}
        todo = Errand(task, self.place, cpus, None if task.timing else self.threads, self.here)
        do = self.ray.remote(num_returns="streaming", max_retries=0, name=task.title)(errand.do)
        return do.options(**options).remote(todo)

    def _hear(self, stream: Any) -> Iterator[Event]:
        """The next word of a task."""
        going = self.going[stream]
        try:
            yield from self._told(going, self.ray.get(next(stream)))
        except StopIteration:
            del self.going[stream]
        except self.ray.exceptions.RayError as error:
            del self.going[stream]
            yield from self._broken(going, error)

    def _told(self, going: Going, message: Message) -> Iterator[Event]:
        if message["event"] == "files":
            errand.unpack(self.place.runs / going.task.digest, message["files"])
        if message["event"] == "began":
            going.began = True
            self.threads = message["threads"] if going.task.timing else self.threads
        event = told.event(going.task, message)
        if isinstance(event, Waiting):
            self.again.append((time.monotonic() + AGAIN_S, going))
        if event is not None:
            yield event

    def _broken(self, going: Going, error: BaseException) -> Iterator[Event]:
        """A task without an end: called off, or lost with its node, or beyond help."""
        task, errors = going.task, self.ray.exceptions
        gone = isinstance(error, errors.NodeDiedError | errors.WorkerCrashedError | errors.ObjectLostError)
        if self.called_off:
            if going.began:
                yield told.stopped(task)
        elif gone and going.lost < LIVES:
            if going.began:
                yield Stage(task, "lost with its node, waiting for another")
                yield Warned(task, "its node was lost; it goes on from its checkpoint on another")
            self.again.append((time.monotonic(), Going(task, lost=going.lost + 1)))
        else:
            if not going.began:
                yield Began(task)
            problem = f"{type(error).__name__}: {_line(error)}"
            told.note(self.place.runs / task.digest, problem)
            yield Ended(task, "KILLED" if gone or isinstance(error, errors.OutOfMemoryError) else "FAILED", problem)

    def _call_off(self, *, force: bool) -> None:
        if not self.called_off or force:
            self.called_off = True
            for stream in self.going:
                self.ray.cancel(stream, force=force)
