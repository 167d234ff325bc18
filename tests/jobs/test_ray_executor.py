"""Sweeps on a Ray cluster: a real one of several nodes on this machine, and one of paper for what is rare."""

import os
import pickle
import queue
import subprocess
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from attncli.errors import UserError
from attncli.jobs import Task, remote_task
from attncli.jobs.events import TaskSource
from attncli.jobs.executors import ray
from attncli.jobs.schedule import run_tasks
from attncli.jobs.worker_pool import WorkerSettings
from attncli.recipe import Recipe
from attncli.system.gpu_support import DEVICE_VARIABLE
from attncli.system.signals import StopRequest
from attncli.track import RunStore
from tests.jobs import case
from tests.shared import ROOT


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A head without cores and two nodes with one each; `nodes` can be taken from it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("ray", reason="ray is not installed")
        from ray.cluster_utils import Cluster

        memory = 80 << 20
        head = {"num_cpus": 0, "object_store_memory": memory, "include_dashboard": False}
        made = Cluster(initialize_head=True, head_node_args=head)
        nodes = [made.add_node(num_cpus=1, object_store_memory=memory) for _ in range(2)]
        yield SimpleNamespace(address=made.address, nodes=nodes, kill=lambda n: made.remove_node(n, False))
        made.shutdown()


def sweep(file: Path, runs: Path, address: str, *options: str) -> "subprocess.Popen[str]":
    """`attncli sweep --on ray` in a process of its own."""
    words = [sys.executable, "-m", "attncli", "sweep", str(file), "--runs", str(runs), "--on", "ray", *options]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
    return subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment | {"RAY_ADDRESS": address},
    )


def lines(process: "subprocess.Popen[str]") -> Iterator[str]:
    """What a sweep says, for at most ten minutes."""
    heard: queue.SimpleQueue[str] = queue.SimpleQueue()

    def listen() -> None:
        for line in process.stderr or ():
            heard.put(line)

    threading.Thread(target=listen, daemon=True).start()
    until = time.monotonic() + 600
    while process.poll() is None or not heard.empty():
        try:
            yield heard.get(timeout=0.2)
        except queue.Empty:
            assert time.monotonic() < until, "the sweep does not end"


def test_a_node_is_lost_in_mid_sweep(cluster: Any, tmp_path: Path) -> None:
    """Its run goes on elsewhere; every run is there once, with the figures of a calm sweep on one machine."""
    file = case.write(tmp_path, attn="eca, se", seeds=1, epochs=3)
    process = sweep(file, tmp_path / "runs", cluster.address)
    begun, said = 0, []
    for line in lines(process):
        said.append(line)
        begun += line.startswith("begun")
        if begun == 2 and len(cluster.nodes) == 2:
            time.sleep(2)  # in its training
            cluster.kill(cluster.nodes.pop())
    out = process.stdout.read() if process.stdout else ""
    assert process.wait() == 0, said
    assert out.startswith("tiny: 3 runs, 3 finished")  # and none of what Ray says of the lost node
    assert sum("its node was lost" in line for line in said) == 1
    calm = case.call(file, tmp_path / "calm")
    assert calm.returncode == 0, calm.stderr
    assert case.faults(tmp_path / "runs", case.figures(tmp_path / "calm")) == []


def test_a_stop_saves_what_is_at_work(cluster: Any, tmp_path: Path) -> None:
    """SIGTERM to the sweep ends it with its runs closed as KILLED; too large a wish is told in a line."""
    file = case.write(tmp_path, attn="eca", seeds=1, epochs=40)
    process = sweep(file, tmp_path / "runs", cluster.address)
    until = time.monotonic() + 600
    while not list((tmp_path / "runs").glob("*/checkpoint/state.json")):
        assert time.monotonic() < until
        time.sleep(0.1)
    process.terminate()
    out, err = process.communicate(timeout=300)
    assert process.returncode == 130, err
    assert "stopped by SIGTERM; the same command" in out
    stored = case.mlflow_runs(tmp_path / "runs")
    assert {run.info.status for runs in stored.values() for run in runs} == {"KILLED"}

    process = sweep(file, tmp_path / "runs", cluster.address, "--cpus", "3")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 2
    assert "no node has 3 cores" in err


class NodeDiedError(Exception):
    """Ray's, of paper."""


class OutOfMemoryError(Exception):
    """Ray's, of paper."""


class Paper:
    """A Ray that says what `words` have for each attempt at a task: messages, or an error in their place."""

    exceptions = SimpleNamespace(
        RayError=Exception,
        NodeDiedError=NodeDiedError,
        WorkerCrashedError=NodeDiedError,
        ObjectLostError=NodeDiedError,
        OutOfMemoryError=OutOfMemoryError,
    )

    def __init__(self, *words: list[Any]) -> None:
        self.words = deque(words)
        self.most = self.open = 0
        self.cancelled = False

    def remote(self, **options: Any) -> Any:
        """Anything becomes a stream of the next words."""
        return lambda do: SimpleNamespace(options=lambda **more: SimpleNamespace(remote=self.stream))

    def stream(self, todo: remote_task.RemoteTask) -> Iterator[Any]:
        """The words of the next attempt."""
        self.open += 1
        self.most = max(self.most, self.open)
        yield from self.words.popleft()
        self.open -= 1

    def wait(self, streams: list[Any], timeout: float) -> tuple[list[Any], list[Any]]:
        """All are ready."""
        return streams, []

    def get(self, word: Any) -> Any:
        """A word, or its error."""
        if isinstance(word, Exception) or self.cancelled:
            raise word if isinstance(word, Exception) else NodeDiedError
        return word

    def cancel(self, stream: Any, *, force: bool) -> None:
        """Everything ends from now on."""
        self.cancelled = True


BEGAN = {"event": "began", "threads": 1}
DONE = {"event": "ended", "status": "FINISHED"}


def told(
    paper: Paper, folder: Path, *, seeds: int = 1, limit: int | None = None, stop: StopRequest | None = None
) -> list[str]:
    """Each event of a sweep in a word or two."""
    recipes = [Recipe(seed=n) for n in range(seeds)]
    tasks = [Task(recipe=r, digest=r.compute_digest(), title=f"run {r.seed}") for r in recipes]
    backend = ray.RayBackend(
        paper, WorkerSettings(RunStore(folder)), {"num_cpus": 1, "num_gpus": 0}, "", limit=limit, retry_s=0.0
    )
    found = []
    for event in run_tasks(backend, tasks, stop or StopRequest(), folder):
        found.append(case.describe_event(event))
        if stop and found[-1].endswith("began"):
            stop.reason = "stopped by SIGINT"
    return found


def test_a_lost_node_costs_an_attempt(tmp_path: Path) -> None:
    """The run is given out anew, and the user told why, also where it is lost before it began."""
    paper = Paper([BEGAN, NodeDiedError("gone")], [NodeDiedError("gone")], [BEGAN, DONE])
    assert told(paper, tmp_path) == ["run 0 began", "run 0 stage", "run 0 warned", "run 0 began", "run 0 FINISHED"]


def test_a_run_does_not_take_every_node_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After so many lost nodes it is given up, and its log says it."""
    monkeypatch.setattr(ray, "MAX_NODE_LOSSES", 1)
    paper = Paper(*[[NodeDiedError("no news from the node\n")]] * 2)
    assert told(paper, tmp_path) == ["run 0 began", "run 0 KILLED"]
    assert "no news from the node" in (tmp_path / Recipe().compute_digest() / "output.log").read_text()


def test_other_errors_are_not_tried_again(tmp_path: Path) -> None:
    """Ray's killing for memory is KILLED, what the node could not even start is FAILED; the next run is done."""
    paper = Paper([BEGAN, OutOfMemoryError("no memory")], [BEGAN, DONE], [RuntimeError("no torch here")])
    assert sorted(told(paper, tmp_path, seeds=3)) == [
        "run 0 KILLED", "run 0 began", "run 1 FINISHED", "run 1 began", "run 2 FAILED", "run 2 began",
    ]  # fmt: skip


def test_no_more_than_asked_for_at_a_time(tmp_path: Path) -> None:
    """--jobs holds on a cluster too; one that another process is at comes back later."""
    busy = {"event": "ended", "status": "OCCUPIED"}
    paper = Paper([BEGAN, busy], [BEGAN, DONE], [BEGAN, DONE], [BEGAN, DONE])
    found = told(paper, tmp_path, seeds=3, limit=1)
    assert sorted(line for line in found if not line.endswith("began")) == [
        "run 0 FINISHED", "run 0 waiting", "run 1 FINISHED", "run 2 FINISHED",
    ]  # fmt: skip
    assert paper.most == 1


def test_a_wish_to_stop_calls_all_off(tmp_path: Path) -> None:
    """What had begun is told as stopped, what had not is not told at all."""
    paper = Paper([BEGAN, DONE], [BEGAN, DONE])
    assert told(paper, tmp_path, seeds=2, limit=1, stop=StopRequest()) == ["run 0 began", "run 0 KILLED"]


def test_files_come_back_where_the_disk_is_not_shared(tmp_path: Path) -> None:
    """The run's files are written before its end is told, without lock and checkpoint."""
    there = tmp_path / "there"
    (there / "checkpoint").mkdir(parents=True)
    for name in ("result.json", "log.jsonl", ".lock", "checkpoint/state.json"):
        (there / name).write_text(name)
    paper = Paper([BEGAN, {"event": "files", "files": remote_task.pack_run_files(there)}, DONE])
    assert told(paper, tmp_path) == ["run 0 began", "run 0 FINISHED"]
    folder = tmp_path / Recipe().compute_digest()
    assert {p.name: p.read_text() for p in folder.iterdir()} == {n: n for n in ("result.json", "log.jsonl")}


@pytest.mark.parametrize("is_shared", [True, False])
def test_what_stays_on_the_nodes_is_told_before(
    is_shared: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights are not sent back; on a shared disk there is nothing to tell."""
    monkeypatch.setattr(ray, "_ray_connection", lambda: nullcontext(Mock()))
    monkeypatch.setattr(ray, "_check_cluster", lambda *args: is_shared)
    monkeypatch.setattr(ray, "run_tasks", lambda *args: iter(()))
    recipe = Recipe()
    tasks = [Task(recipe=recipe, digest=recipe.compute_digest(), title=f"run {n}") for n in range(2)]
    executor = ray.make_ray_executor(WorkerSettings(RunStore(tmp_path)), gpus=0)
    texts = [event.text for event in executor(TaskSource(0, 2, lambda: tasks), StopRequest())]
    assert len(texts) == (0 if is_shared else 1)
    assert all("checkpoint/" in text for text in texts)


def test_without_ray_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing else happens."""
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match="Ray is not installed"):
        list(ray.make_ray_executor(WorkerSettings(RunStore(tmp_path)))(TaskSource(0, 0, list), StopRequest()))


def test_the_device_that_was_asked_for_goes_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node's processes do not have the environment of the sweep's; without a wish they keep their own."""
    environments: list[dict[str, str]] = []
    worker = Mock(**{"collect_exit_code.return_value": 0})
    monkeypatch.setattr(
        remote_task, "WorkerProcess", lambda settings, given, inbox: environments.append(given) or worker
    )
    monkeypatch.setattr(remote_task, "_wait_for_message", lambda inbox: DONE)
    recipe = Recipe()
    for wish in ("cpu", ""):
        monkeypatch.setenv(DEVICE_VARIABLE, wish)
        task = Task(recipe=recipe, digest=recipe.compute_digest(), title="run")
        shipped = pickle.dumps(remote_task.RemoteTask(task, WorkerSettings(RunStore(tmp_path)), 2))
        monkeypatch.setenv(DEVICE_VARIABLE, "cuda")
        list(pickle.loads(shipped).run_worker())
    assert [environment[DEVICE_VARIABLE] for environment in environments] == ["cpu", "cuda"]


@pytest.mark.parametrize(("wish", "gpus", "count"), [("", 2.0, 1), ("", 0.0, 0), ("cuda", 1.0, 1), ("cpu", 2.0, 0)])
def test_runs_on_cpus_take_no_gpus(wish: str, gpus: float, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --gpus a run takes one where there are any, unless it is to train on the CPU."""
    monkeypatch.setenv(DEVICE_VARIABLE, wish)
    assert ray._choose_gpu_count([{"Resources": {"CPU": 4}}, {"Resources": {"GPU": gpus}}]) == count
