"""The executor of this machine with workers that are small scripts: hiring, handing out, losing, stopping."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from attncli.errors import RunFailedError, UserError
from attncli.jobs import (
    JobsChanged,
    Task,
    TaskEnded,
    TaskEvent,
    TaskStage,
    TaskStarted,
    TaskWaiting,
    schedule,
    worker_pool,
)
from attncli.jobs.events import TaskSource
from attncli.jobs.executors import local
from attncli.jobs.worker_pool import WorkerSettings
from attncli.recipe import Recipe
from attncli.system import memory_limit
from attncli.system.signals import StopRequest
from attncli.track import RunStore

SCRIPT = """
import json, os, signal, sys, time
say = lambda **e: print(json.dumps(e), flush=True)
DEEDS = json.loads({deeds!r})
if DEEDS.get("start") == "exit": sys.exit("no torch here")
if DEEDS.get("start") == "latin": os.write(2, b"no caf\\xe9 here\\n"); sys.exit(1)
if DEEDS.get("start") == "die": os.kill(os.getpid(), signal.SIGKILL)
say(event="ready", threads=int(os.environ.get("OMP_NUM_THREADS", 0)))
for line in sys.stdin:
    order = json.loads(line)
    with open({log!r}, "a") as log:
        log.write(json.dumps([os.getpid(), order["recipe"]["seed"], order["timing"], order["threads"]]) + "\\n")
    deed = DEEDS.get(str(order["recipe"]["seed"]), "finish")
    if deed == "busy" and os.path.exists({log!r} + ".free"): deed = "finish"
    if deed == "die": os.kill(os.getpid(), signal.SIGKILL)
    if deed == "exit": sys.exit("that was that")
    if deed == "hang":
        def leave(*_):
            say(event="ended", status="KILLED", problem="stopped by SIGTERM"); sys.exit(0)
        signal.signal(signal.SIGTERM, leave)
        say(event="stage", text="hanging")
        time.sleep(600)
    if deed == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        say(event="stage", text="hanging")
        time.sleep(600)
    if deed == "busy":
        open({log!r} + ".free", "w"); say(event="ended", status="OCCUPIED")
    elif deed == "fail":
        say(event="ended", status="FAILED", problem="x", hint="y"); break
    else:
        say(event="step", epoch=1, epochs=2, images_per_s=5.0, seconds_left=1.0)
        say(event="ended", status="FINISHED")
"""


class Hall:
    """A place where workers are scripts that do what they are told by seed; `orders` is what they were given."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.runs, self._log, self._patch = folder / "runs", folder / "orders", monkeypatch
        self.processes: list[subprocess.Popen[str]] = []
        self.open_tasks: Callable[[], list[Task]] | None = None  # None: the tasks are there
        monkeypatch.setattr(local, "RETRY_S", 0.1)
        monkeypatch.setattr(worker_pool.resources, "threads_per_job", lambda jobs: 8 // jobs)
        monkeypatch.setenv("OMP_NUM_THREADS", "8")
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")

    def work(
        self,
        seeds: int,
        jobs: int,
        *,
        timings: int = 0,
        stop: StopRequest | None = None,
        shares_devices: bool = False,
        **deeds: str,
    ) -> Iterator[TaskEvent]:
        """The executor's events for tasks of seeds 0, 1, ...; deeds by seed as `s0="die"`."""
        named = json.dumps({key.removeprefix("s") if key != "start" else key: deed for key, deed in deeds.items()})
        script = self._log.with_suffix(".py")
        script.write_text(SCRIPT.format(deeds=named, log=str(self._log)))
        popen = worker_pool.subprocess.Popen

        def start(words: list[str], **options: Any) -> "subprocess.Popen[str]":
            self.processes.append(popen([sys.executable, str(script)], **options))
            return self.processes[-1]

        self._patch.setattr(worker_pool.subprocess, "Popen", start)
        self.tasks = [self.task(seed) for seed in range(seeds)]
        given = [self.task(100 + n, timing=True) for n in range(timings)] + self.tasks
        settings = WorkerSettings(RunStore(self.runs))
        source = TaskSource(timings, seeds, self.open_tasks or (lambda: given))
        return local.make_local_executor(jobs, settings, shares_devices=shares_devices)(source, stop or StopRequest())

    def task(self, seed: int, *, timing: bool = False) -> Task:
        """A task that tells itself by its seed."""
        recipe = Recipe(seed=seed)
        return Task(recipe=recipe, digest=recipe.compute_digest(), title=f"run {seed}", timing=timing)

    @property
    def orders(self) -> list[tuple[int, int, bool, int | None]]:
        """(process, seed, timing, threads) of every order, as the workers got them."""
        return [tuple(json.loads(line)) for line in self._log.read_text().splitlines()]


@pytest.fixture
def hall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hall:
    """Workers of paper."""
    return Hall(tmp_path, monkeypatch)


def endings(events: Iterator[TaskEvent]) -> dict[int, TaskEnded]:
    """How each task ended, by seed; each ends once."""
    found: dict[int, TaskEnded] = {}
    for event in events:
        if isinstance(event, TaskEnded):
            assert event.task.recipe.seed not in found
            found[event.task.recipe.seed] = event
    return found


@pytest.mark.parametrize(("timings", "workers"), [(0, 2), (3, 1)])
def test_workers_start_before_the_tasks_are_known(hall: Hall, timings: int, workers: int) -> None:
    """While the parent runs are opened the first workers load their libraries; they end if the store refuses."""
    running = []

    def refuse() -> list[Task]:
        running.extend(process.poll() is None for process in hall.processes)
        raise UserError("the store refuses")

    hall.open_tasks = refuse
    with pytest.raises(UserError, match="the store refuses"):
        list(hall.work(3, 2, timings=timings))
    assert running == [True] * workers
    assert all(process.poll() is not None for process in hall.processes)


def test_more_workers_than_there_is_memory_for(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are refused before one starts; a sweep never has more than it has runs."""
    monkeypatch.setattr(memory_limit, "read_free_memory", lambda: 3 * memory_limit.PROCESS_BYTES)
    assert len(endings(hall.work(3, 1000))) == 3
    started = len(hall.processes)
    with pytest.raises(UserError, match="--jobs 4: each takes") as caught:
        list(hall.work(4, 1000))
    assert len(hall.processes) == started
    assert "use at most 3;" in caught.value.hint


def test_workers_stay(hall: Hall) -> None:
    """Seven tasks and two jobs take two processes at most; tasks begin in their order."""
    events = list(hall.work(7, 2))
    assert [e.task.recipe.seed for e in events if isinstance(e, TaskStarted)] == list(range(7))
    assert [e.status for e in events if isinstance(e, TaskEnded)] == ["FINISHED"] * 7
    assert len({process for process, *_ in hall.orders}) <= 2  # a quick one may have done them all


def test_pool_grows_if_a_gpu_is_left_idle(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the watch has decided, the listener hears it, and more workers may start; one task is timed before."""
    answers = iter([None, (3, "it computed 25% of the time")])
    sizes: list[int] = []
    spawn = worker_pool.WorkerPool.spawn_workers
    monkeypatch.setattr(
        worker_pool.WorkerPool, "spawn_workers", lambda pool, wanted: sizes.append(pool.size) or spawn(pool, wanted)
    )
    monkeypatch.setattr(local.GpuWatch, "look", lambda watch: next(answers, None))
    monkeypatch.setattr(worker_pool.resources, "list_gpus", lambda: ("0",))
    events = list(hall.work(4, 1, shares_devices=True))
    assert [e for e in events if isinstance(e, JobsChanged)] == [JobsChanged(3, "it computed 25% of the time")]
    assert [e.status for e in events if isinstance(e, TaskEnded)] == ["FINISHED"] * 4
    assert (sizes[0], sizes[-1]) == (1, 3)


@pytest.mark.parametrize("timings", [0, 1])
def test_pool_is_as_large_as_timed_steps_say(hall: Hall, timings: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU the first run's steps decide, after the timings, which have the whole machine."""
    asked: list[tuple[int, int]] = []

    def choose(recipe: Recipe, runs_folder: Path, runs: int, stop: StopRequest) -> tuple[int, str]:
        asked.append((recipe.seed, runs))
        return 3, "by timed steps"

    sizes: list[int] = []
    spawn = worker_pool.WorkerPool.spawn_workers
    monkeypatch.setattr(
        worker_pool.WorkerPool, "spawn_workers", lambda pool, wanted: sizes.append(pool.size) or spawn(pool, wanted)
    )
    monkeypatch.setattr(local, "choose_jobs_by_timing", choose)
    events = list(hall.work(4, 1, shares_devices=True, timings=timings))
    assert asked == [(0, 4)]
    assert [e for e in events if isinstance(e, JobsChanged)][-1] == JobsChanged(3, "by timed steps")
    assert [e.status for e in events if isinstance(e, TaskEnded)] == ["FINISHED"] * (4 + timings)
    assert sizes[-1] == 3
    assert not timings or sizes[0] == 1


def test_no_more_workers_than_tasks(hall: Hall) -> None:
    """One task is one process, however many there may be."""
    list(hall.work(1, 5))
    assert len({process for process, *_ in hall.orders}) == 1


def test_timings_come_first_with_all_threads(hall: Hall) -> None:
    """One process with the whole machine times; runs, with their share, are told with how many threads that was."""
    list(hall.work(3, 2, timings=2))
    assert [order[1:] for order in hall.orders[:2]] == [(100, True, 8), (101, True, 8)]
    assert sorted(order[1:] for order in hall.orders[2:]) == [(0, False, 8), (1, False, 8), (2, False, 8)]
    assert {o[0] for o in hall.orders[:2]}.isdisjoint({o[0] for o in hall.orders[2:]})


def test_each_gpu_times(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes time, each with half of the cores; no run begins before the last timing has ended."""
    monkeypatch.setattr(local.resources, "count_timing_places", lambda jobs: 2)
    events = list(hall.work(2, 2, timings=4))
    kinds = [e.task.timing for e in events if isinstance(e, TaskStarted | TaskEnded)]
    assert kinds == [True] * 8 + [False] * 4
    assert {order[3] for order in hall.orders} == {4}


def test_one_job_times_and_trains_in_one_process(hall: Hall) -> None:
    """Nothing is started twice where the shares are the same."""
    list(hall.work(2, 1, timings=1))
    assert len({process for process, *_ in hall.orders}) == 1
    assert [order[3] for order in hall.orders] == [8, 8, 8]


def test_without_timings_a_run_times_itself(hall: Hall) -> None:
    """No number of threads is passed on where nothing was timed before."""
    list(hall.work(2, 2))
    assert {order[3] for order in hall.orders} == {None}


def test_a_worker_that_dies_is_replaced(hall: Hall) -> None:
    """Its run alone is lost, its log says why, the others are done by others."""
    found = endings(hall.work(5, 2, s1="die", s3="exit"))
    assert [found[s].status for s in range(5)] == ["FINISHED", "KILLED", "FINISHED", "FAILED", "FINISHED"]
    assert found[1].problem == "its process was killed by SIGKILL"
    assert "fewer --jobs" in found[1].hint
    assert found[3].problem == "its process ended with exit code 1: that was that"
    assert "killed by SIGKILL" in (hall.runs / found[1].task.digest / "output.log").read_text()


def test_a_failed_run_costs_its_process(hall: Hall) -> None:
    """What a failure leaves behind in a process meets no other run."""
    found = endings(hall.work(3, 1, s0="fail"))
    assert (found[0].status, found[0].problem, found[0].hint) == ("FAILED", "x", "y")
    assert [found[s].status for s in (1, 2)] == ["FINISHED"] * 2
    (first, *_), (second, *_), (third, *_) = hall.orders
    assert first != second == third


def test_a_run_of_another_process_is_come_back_to(hall: Hall) -> None:
    """It is put off, the others go first, and in the end it is done."""
    events = list(hall.work(3, 1, s0="busy"))
    assert [e.task.recipe.seed for e in events if isinstance(e, TaskWaiting)] == [0]
    assert sorted(e.task.recipe.seed for e in events if isinstance(e, TaskEnded)) == [0, 1, 2]


def test_what_was_finished_meanwhile_is_not_given_out(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look into its folder is enough."""
    done = hall.task(1).digest
    monkeypatch.setattr(schedule.track, "read_finished_result", lambda folder: folder.name == done)
    assert [e.status for e in endings(hall.work(3, 1)).values()] == ["FINISHED"] * 3
    assert [seed for _, seed, *_ in hall.orders] == [0, 2]


def test_a_stop_saves_what_is_at_work_and_begins_nothing(hall: Hall) -> None:
    """The worker is asked by SIGTERM and tells its own end."""
    stop = StopRequest()
    found: dict[int, TaskEnded] = {}
    for event in hall.work(4, 1, s1="hang", stop=stop):
        if isinstance(event, TaskEnded):
            found[event.task.recipe.seed] = event
        elif isinstance(event, TaskStage):
            stop.reason = "stopped by SIGINT"
    assert {seed: e.status for seed, e in found.items()} == {0: "FINISHED", 1: "KILLED"}
    assert found[1].problem == "stopped by SIGTERM"


def test_a_hurry_kills(hall: Hall) -> None:
    """A worker that does not listen is not waited for when the user asks twice."""
    stop = StopRequest()
    began = time.monotonic()
    for event in hall.work(2, 1, s0="deaf", stop=stop):
        if isinstance(event, TaskStage):
            stop.reason, stop.at_once = "stopped by SIGINT", True
        if isinstance(event, TaskEnded):
            assert (event.status, event.problem) == ("KILLED", "stopped")
    assert time.monotonic() - began < 300  # and not the ten minutes that it would sleep


def test_one_that_takes_too_long_to_stop_is_killed(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the time of grace."""
    monkeypatch.setattr(worker_pool, "GRACE_S", 0.2)
    stop = StopRequest()
    statuses = []
    for event in hall.work(1, 1, s0="deaf", stop=stop):
        if isinstance(event, TaskStage):
            stop.reason = "stopped by SIGINT"
        if isinstance(event, TaskEnded):
            statuses.append(event.status)
    assert statuses == ["KILLED"]


@pytest.mark.parametrize(
    ("start", "told"), [("exit", "no torch here"), ("die", "without a word"), ("latin", "no caf. here")]
)
def test_workers_that_do_not_start_end_the_sweep(hall: Hall, start: str, told: str) -> None:
    """An installation that is broken is told as such, not tried for ever."""
    with pytest.raises(RunFailedError, match=f"a worker did not start: {told}"):
        list(hall.work(1, 1, start=start))
