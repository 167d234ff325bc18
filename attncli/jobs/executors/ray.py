"""The executor of a Ray cluster: every run is a Ray task that takes its cores and GPUs on any node.

A task does its run in its own worker process and streams back the messages. If a node is lost, its run is
given to another, which resumes from the checkpoint if the nodes share the folder of runs, else starts again; then
the run's files are sent back with its end.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from attncli import track
from attncli.errors import RunFailedError, UserError
from attncli.jobs import events, remote_task
from attncli.jobs.events import Message, Task, TaskEnded, TaskEvent, TaskSource, TaskStage, TaskStarted, TaskWarning
from attncli.jobs.execute import Executor
from attncli.jobs.remote_task import RemoteTask
from attncli.jobs.schedule import run_tasks
from attncli.jobs.worker_pool import WorkerSettings
from attncli.quantities import format_quantity
from attncli.system.gpu_support import read_requested_device
from attncli.system.signals import StopRequest

LISTEN_S = 0.3
RETRY_S = 5.0  # until a run that another process works on is tried again
LOST_FILES = (
    "the nodes do not share the folder of runs: weights (checkpoint/) and files of "
    f"{remote_task.MAX_FILE_BYTES >> 20} MiB and more stay behind, also those of the other runs"
)
MAX_NODE_LOSSES = 10  # nodes that one run may lose


def make_ray_executor(
    settings: WorkerSettings, *, jobs: int | None = None, cpus: int = 1, gpus: float | None = None
) -> Executor:
    """Return an executor on the cluster of RAY_ADDRESS, else on this machine's, else on one made for the sweep.

    Each run takes `cpus` cores and `gpus` GPUs (None: one if the cluster has any, as Ray hides those that a task does
    not ask for), and at most `jobs` run at a time (None: as many as the cluster takes).
    Timings come first, each with a whole node for itself. Raises UserError without Ray, if no node can take
    a run, or if the nodes share neither the folder of runs nor a tracking server.
    """
    return partial(_execute_on_ray, settings.with_absolute_runs(), jobs, {"num_cpus": cpus, "num_gpus": gpus})


def _execute_on_ray(
    settings: WorkerSettings, jobs: int | None, needs: Mapping[str, Any], source: TaskSource, stop: StopRequest
) -> Iterator[TaskEvent]:
    with _ray_connection() as ray, _shared_probe_file(settings) as probe_name:
        if needs["num_gpus"] is None:
            needs = {**needs, "num_gpus": _choose_gpu_count(ray.nodes())}
        disk_is_shared = _check_cluster(ray, settings, needs, probe_name)
        tasks = source.open_tasks()
        if tasks and not disk_is_shared:
            yield TaskWarning(tasks[0], LOST_FILES)
        timings = [t for t in tasks if t.timing] if disk_is_shared else []  # without it a run measures its own speed
        backend = RayBackend(ray, settings, needs, probe_name, limit=1)
        yield from run_tasks(backend, timings, stop, settings.runs)
        backend.limit = jobs
        yield from run_tasks(backend, [t for t in tasks if not t.timing], stop, settings.runs)


def _choose_gpu_count(nodes: Sequence[Mapping[str, Any]]) -> int:
    """Return the GPUs of a run if `--gpus` does not say it: one if a node has any, none if `--device` is the CPU."""
    return int(read_requested_device() != "cpu" and any(node["Resources"].get("GPU", 0) >= 1 for node in nodes))


@contextmanager
def _ray_connection() -> Iterator[Any]:
    """Connect to Ray and return it, without its signal handlers and its reports of lost nodes on stdout."""
    try:
        import ray
    except ImportError as error:
        raise UserError("--on ray: Ray is not installed", "pip install 'attncli[ray]'") from error
    previous_handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(
            f"--on ray: {_last_line(error)}", "start a cluster with `ray start --head`, or set RAY_ADDRESS=HOST:PORT"
        ) from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, previous_handler)
    try:
        with open(os.devnull, "w") as null_file, redirect_stdout(null_file):
            yield ray
    finally:
        ray.shutdown()


@contextmanager
def _shared_probe_file(settings: WorkerSettings) -> Iterator[str]:
    """Yield the name of a file in the folder of runs, by which a node sees whether it has the same folder."""
    probe_file = remote_task.create_probe_file(settings.runs)
    try:
        yield probe_file.name
    finally:
        probe_file.unlink(missing_ok=True)


def _check_cluster(ray: Any, settings: WorkerSettings, needs: Mapping[str, Any], probe_name: str) -> bool:
    """Return whether all nodes see the folder of runs. Raises UserError for a cluster that cannot do the sweep."""
    nodes = _list_alive_nodes(ray)
    if not any(_has_room(node, needs) for node in nodes):
        most_cores, most_gpus = (max(node["Resources"].get(kind, 0) for node in nodes) for kind in ("CPU", "GPU"))
        wanted = f"{format_quantity(needs['num_cpus'], 'core')} and {format_quantity(needs['num_gpus'], 'GPU')}"
        raise UserError(f"--on ray: no node has {wanted}", f"use at most --cpus {most_cores:g} --gpus {most_gpus:g}")
    check_path = ray.remote(num_cpus=0, max_retries=3)(remote_task.is_path_visible)
    answers = [
        check_path.options(scheduling_strategy=_pin_to_node(node)).remote(settings.runs / probe_name) for node in nodes
    ]
    try:
        disk_is_shared = all(ray.get(answers, timeout=120))
    except ray.exceptions.RayError as error:
        raise RunFailedError(f"--on ray: {_last_line(error)}", "install the same attncli on every node") from error
    if not disk_is_shared and track.is_file_store(settings.run_store):
        raise UserError(
            f"--on ray: the nodes do not share {settings.runs}, and the tracking store is a file there",
            "give --runs on a shared disk, or the --tracking-uri of a server",
        )
    return disk_is_shared


def _list_alive_nodes(ray: Any) -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]


def _has_room(node: Mapping[str, Any], needs: Mapping[str, Any]) -> bool:
    resources = node["Resources"]
    return bool(resources.get("CPU", 0) >= needs["num_cpus"] and resources.get("GPU", 0) >= needs["num_gpus"])


def _pin_to_node(node: Mapping[str, Any]) -> Any:
    """Return Ray's strategy for a task that goes to this node, or elsewhere if it is lost."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node_id=node["NodeID"], soft=True)


def _last_line(error: BaseException) -> str:
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__


@dataclass
class RunningTask:
    """A task that was submitted: whether it has begun, how often its node was lost."""

    task: Task
    node_losses: int = 0
    has_started: bool = False


@dataclass
class RayBackend:
    """The tasks that Ray has, by the stream of their messages. At most `limit` run at a time (None: any number)."""

    ray: Any
    settings: WorkerSettings
    needs: Mapping[str, Any]
    probe_name: str
    limit: int | None = None
    retry_s: float = RETRY_S
    timing_threads: int | None = None  # of the timings
    running: dict[Any, RunningTask] = field(default_factory=dict)
    is_cancelled: bool = False

    @property
    def is_busy(self) -> bool:
        """Whether Ray has a task."""
        return bool(self.running)

    def prepare_places(self, waiting_tasks: int) -> int:
        """Return how many of the waiting tasks Ray may get now."""
        return waiting_tasks if self.limit is None else max(0, self.limit - len(self.running))

    def start_tasks(self, tasks: Sequence[Task]) -> Iterator[TaskEvent]:
        """Submit the tasks; they begin when Ray finds a node for them."""
        for task in tasks:
            self._submit(RunningTask(task))
        yield from ()

    def poll_events(self) -> Iterator[TaskEvent]:
        """Yield the next message of each task that has one."""
        if not self.running:
            time.sleep(LISTEN_S)
            return
        for stream in self.ray.wait(list(self.running), timeout=LISTEN_S)[0]:
            yield from self._handle_stream(stream)

    def cancel_tasks(self, *, at_once: bool) -> None:
        """Interrupt all tasks, which save first, or kill them."""
        if not self.is_cancelled or at_once:
            self.is_cancelled = True
            for stream in self.running:
                self.ray.cancel(stream, force=at_once)

    def shut_down(self) -> None:
        """Interrupt what still runs."""
        if self.running:
            self.cancel_tasks(at_once=False)

    def _submit(self, running_task: RunningTask) -> None:
        """Hand the task to Ray, which begins it when a node has room, and keep the stream of its messages."""
        task = running_task.task
        shipped_task = RemoteTask(
            task,
            self.settings,
            cpus=max(1, int(self.needs["num_cpus"])),
            timing_threads=None if task.timing else self.timing_threads,
            probe_name=self.probe_name,
        )
        remote_function = self.ray.remote(num_returns="streaming", max_retries=0, name=task.title)(
            remote_task.run_remote_task
        )
        options = self._reserve_largest_node() if task.timing else self.needs
        self.running[remote_function.options(**options).remote(shipped_task)] = running_task

    def _reserve_largest_node(self) -> dict[str, Any]:
        """Return Ray's options for a task that has the node with the most cores for itself."""
        nodes = [node for node in _list_alive_nodes(self.ray) if _has_room(node, self.needs)]
        if not nodes:
            return dict(self.needs)
        largest_node = max(nodes, key=lambda node: node["Resources"]["CPU"])
        cores = largest_node["Resources"]["CPU"]
        return {**self.needs, "num_cpus": cores, "scheduling_strategy": _pin_to_node(largest_node)}

    def _handle_stream(self, stream: Any) -> Iterator[TaskEvent]:
        """Yield the next message of a task as an event."""
        running_task = self.running[stream]
        try:
            yield from self._handle_message(running_task, self.ray.get(next(stream)))
        except StopIteration:
            del self.running[stream]
        except self.ray.exceptions.RayError as error:
            del self.running[stream]
            yield from self._handle_failure(running_task, error)

    def _handle_message(self, running_task: RunningTask, message: Message) -> Iterator[TaskEvent]:
        """Unpack the files that a message brings, note the start of a task, and yield the message as an event."""
        if message["event"] == "files":
            remote_task.unpack_run_files(self.settings.runs / running_task.task.digest, message["files"])
        if message["event"] == "began":
            running_task.has_started = True
            if running_task.task.timing:
                self.timing_threads = message["threads"]
        event = events.parse_message(running_task.task, message)
        if event is not None:
            yield event

    def _handle_failure(self, running_task: RunningTask, error: BaseException) -> Iterator[TaskEvent]:
        """Handle a task whose stream failed: it was cancelled, lost with its node, or failed for good."""
        task, errors = running_task.task, self.ray.exceptions
        node_lost = isinstance(error, errors.NodeDiedError | errors.WorkerCrashedError | errors.ObjectLostError)
        if self.is_cancelled:
            if running_task.has_started:
                yield events.make_stopped_event(task)
        elif node_lost and running_task.node_losses < MAX_NODE_LOSSES:
            if running_task.has_started:
                yield TaskStage(task, "lost with its node, waiting for another")
                yield TaskWarning(task, "its node was lost; it resumes from its checkpoint on another")
            self._submit(RunningTask(task, node_losses=running_task.node_losses + 1))
        else:
            if not running_task.has_started:
                yield TaskStarted(task)
            problem = f"{type(error).__name__}: {_last_line(error)}"
            events.append_to_log(self.settings.runs / task.digest, problem)
            yield TaskEnded(
                task, "KILLED" if node_lost or isinstance(error, errors.OutOfMemoryError) else "FAILED", problem
            )
