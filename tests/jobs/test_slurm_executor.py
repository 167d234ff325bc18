"""Sweeps as jobs: done by submitit on this machine, and by a real Slurm where there is one."""

import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from attncli.errors import UserError
from attncli.jobs import (
    Task,
    TaskEnded,
    TaskEvent,
    TaskProgress,
    TaskStage,
    TaskStarted,
    execute_plan,
    plan_sweep,
    schedule,
)
from attncli.jobs.executors import choose_executor, parse_sbatch_options, slurm
from attncli.jobs.schedule import run_tasks
from attncli.jobs.worker_pool import WorkerSettings
from attncli.recipe import Recipe
from attncli.system.signals import StopRequest
from attncli.track import RunStore
from tests.jobs import case


def events_of(folder: Path, *, cluster: str, stop: StopRequest | None = None, **given: Any) -> Iterator[TaskEvent]:
    """The events of a tiny sweep on a cluster."""
    runs, file = folder / "runs", case.write(folder, attn="eca", seeds=1, epochs=3)
    do = slurm.make_slurm_executor(WorkerSettings(RunStore(runs)), cluster=cluster, options={"time": 10, **given})
    return execute_plan(plan_sweep(file, runs=runs), do, stop or StopRequest(), RunStore(runs))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # submitit 1.5.2 leaves its processes
def test_a_job_that_is_taken_away_is_queued_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slurm's warning has the run saved; its job comes back and goes on, to the same figures."""
    pytest.importorskip("submitit", reason="submitit is not installed")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    warned, events = False, []
    for event in events_of(tmp_path, cluster="local"):
        events.append(event)
        if isinstance(event, TaskProgress) and not warned:
            warned = warn_one()
    assert [e.status for e in events if isinstance(e, TaskEnded)] == ["FINISHED"] * 2
    assert sum(isinstance(e, TaskStarted) for e in events) == 3
    assert [e.text for e in events if isinstance(e, TaskStage)].count("saved, in the queue again") == 1
    calm = case.call(tmp_path / "tiny.yaml", tmp_path / "calm", jobs=2)
    assert calm.returncode == 0, calm.stderr
    assert case.faults(tmp_path / "runs", case.figures(tmp_path / "calm")) == []


def warn_one() -> bool:
    """Tell one of submitit's jobs below this process that its time is over."""
    for process in psutil.Process().children(recursive=True):
        if "submitit.core._submit" in process.cmdline():
            process.send_signal(signal.SIGUSR2)
            return True
    return False


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("sbatch") is None, reason="no Slurm here")
def test_a_real_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job stopped with the sweep saves; the next call finishes; what was cancelled is in no queue."""
    pytest.importorskip("submitit", reason="submitit is not installed")
    if subprocess.run(["sinfo"], capture_output=True, check=False).returncode:
        pytest.skip("Slurm does not answer")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    stop, events = StopRequest(), []
    for event in events_of(tmp_path, cluster="slurm", stop=stop, mem=2000):
        events.append(event)
        if isinstance(event, TaskProgress):
            stop.reason = "stopped by SIGTERM"
    assert {e.status for e in events if isinstance(e, TaskEnded)} <= {"KILLED", "FINISHED"}
    events = list(events_of(tmp_path, cluster="slurm", mem=2000))
    assert {e.status for e in events if isinstance(e, TaskEnded)} == {"FINISHED"}
    calm = case.call(tmp_path / "tiny.yaml", tmp_path / "calm", jobs=2)
    assert calm.returncode == 0, calm.stderr
    assert case.faults(tmp_path / "runs", case.figures(tmp_path / "calm")) == []


class Paper:
    """A queue in which nothing runs: `steps` says what happens between two looks at it."""

    def __init__(self, folder: Path) -> None:
        self.jobs: list[slurm.SlurmJob] = []
        self.asked: list[dict[str, Any]] = []
        self.cancelled: list[str] = []
        self.left: set[str] = set()
        self.steps: list[Callable[[], Any]] = []
        self.queue = slurm.SlurmBackend(WorkerSettings(RunStore(folder)), 1, folder / "q", self.submit, self.there)

    def submit(self, options: Mapping[str, Any], jobs: Sequence[slurm.SlurmJob]) -> list[Any]:
        """Handles of the jobs, by number."""
        names = [str(len(self.jobs) + n) for n in range(len(jobs))]
        self.asked.append(dict(options))
        self.jobs += jobs
        return [SimpleNamespace(job_id=n, paths=SimpleNamespace(stderr="err"), cancel=self.cancel(n)) for n in names]

    def cancel(self, name: str) -> Callable[..., None]:
        """What takes a job out of the queue."""
        return lambda check: self.cancelled.append(name)

    def there(self, handles: Sequence[Any]) -> set[str]:
        """The ids of those that did not leave."""
        return {h.job_id for h in handles} - self.left - set(self.cancelled)

    def say(self, number: int, *events: str, **values: Any) -> Callable[[], None]:
        """A step: a job begins, and may end."""

        def step() -> None:
            self.jobs[number]._write_message({"event": "began", "threads": 1})
            for event in events:
                self.jobs[number]._write_message({"event": event, **values})

        return step

    def leave(self, number: int) -> Callable[[], None]:
        """A step: a job leaves the queue."""
        return lambda: self.left.add(str(number))

    def told(self, count: int, stop: StopRequest | None = None, **options: Any) -> list[str]:
        """How the sweep hears of so many tasks: each event in a word or two."""
        found = []
        self.queue.options = options
        for event in run_tasks(self.queue, tasks(count), stop or StopRequest(), self.queue.settings.runs):
            found.append(case.describe_event(event))
        return found


@pytest.fixture
def paper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paper:
    """An empty queue; its time passes with its steps."""
    made, now = Paper(tmp_path), [0.0]

    def sleep(seconds: float) -> None:
        now[0] += 15
        if made.steps:
            made.steps.pop(0)()

    clock = SimpleNamespace(sleep=sleep, monotonic=lambda: now[0], monotonic_ns=time.monotonic_ns)
    for module in (slurm, schedule):
        monkeypatch.setattr(module, "time", clock)
    return made


def tasks(count: int) -> list[Task]:
    """Tasks told by their seed."""
    recipes = [Recipe(seed=n) for n in range(count)]
    return [Task(recipe=r, digest=r.compute_digest(), title=f"run {r.seed}") for r in recipes]


def test_a_stopped_leg_is_no_end_while_the_job_is_there(paper: Paper) -> None:
    """KILLED counts once the job has left the queue; another leg before that makes it void."""
    killed = paper.say(0, "ended", status="KILLED", problem="stopped by SIGTERM")
    paper.steps = [killed, paper.say(0), paper.say(0, "ended", status="FINISHED")]
    assert paper.told(1) == ["run 0 began", "run 0 began", "run 0 began", "run 0 FINISHED"]


def test_a_stopped_leg_without_another_is_the_end(paper: Paper) -> None:
    """Where somebody cancelled the job."""
    paper.steps = [paper.say(0, "ended", status="KILLED", problem="stopped by SIGTERM"), paper.leave(0)]
    assert paper.told(1) == ["run 0 began", "run 0 KILLED"]


def test_a_job_that_leaves_without_a_word_is_lost(paper: Paper) -> None:
    """After a while, as disks are slow; the others are not touched, and the run's log says it."""
    paper.steps = [paper.leave(0), paper.say(1, "ended", status="FINISHED")]
    assert paper.told(2) == ["run 1 began", "run 1 FINISHED", "run 0 KILLED"]
    log = paper.queue.settings.runs / tasks(1)[0].digest / "output.log"
    assert log.read_text().startswith("Error: job 0 ")


def test_a_run_of_another_sweep_is_queued_again(paper: Paper) -> None:
    """It is waited for, and asked for again with the same options."""
    paper.steps = [paper.say(0, "ended", status="OCCUPIED"), lambda: None, lambda: None, lambda: None]
    paper.steps.append(paper.say(1, "ended", status="FINISHED"))
    assert paper.told(1, partition="gpu") == ["run 0 began", "run 0 waiting", "run 0 began", "run 0 FINISHED"]
    assert paper.asked == [{"partition": "gpu"}] * 2


def test_a_stop_empties_the_queue(paper: Paper) -> None:
    """All jobs are cancelled; those that had begun are told as stopped, others have simply not been done."""
    stop = StopRequest()
    paper.steps = [paper.say(0), lambda: setattr(stop, "reason", "stopped by SIGINT")]
    assert paper.told(2, stop) == ["run 0 began", "run 0 KILLED"]
    assert paper.cancelled == ["0", "1"]


def test_words_are_read_in_whole_lines(paper: Paper) -> None:
    """A line that is half written is left for the next look."""
    words = paper.queue.folder
    job = slurm.QueuedJob(tasks(1)[0], None, words)
    assert list(job.read_messages()) == []
    words.write_text('{"a": 1}\n{"b"')
    assert list(job.read_messages()) == [{"a": 1}]
    with words.open("a") as file:
        file.write(": 2}\n")
    assert list(job.read_messages()) == [{"b": 2}]
    assert list(job.read_messages()) == []


@pytest.mark.parametrize(
    ("code", "out", "err", "there"),
    [
        (0, "12 12_0 RUNNING\n13 12_1 PENDING\n14 14_N/A COMPLETED\n", "", {"12", "12_0", "13", "12_1"}),
        (1, "", "slurm_load_jobs error: Invalid job id specified", set()),
        (1, "", "slurm_load_jobs error: Unable to contact slurm controller", None),
    ],
)
def test_what_slurm_says(
    code: int, out: str, err: str, there: set[str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arrays and single jobs by their ids; jobs it has forgotten are gone; no answer is no answer."""
    done = subprocess.CompletedProcess([], code, out, err)
    monkeypatch.setattr(subprocess, "run", lambda *words, **options: done)
    assert slurm.list_queued_ids([SimpleNamespace(job_id="12_0"), SimpleNamespace(job_id="14")]) == there


def test_options_of_sbatch() -> None:
    """Words with a value, numbers as numbers."""
    assert parse_sbatch_options(["partition=gpu", "time=60", "comment=a=b"]) == {
        "partition": "gpu",
        "time": 60,
        "comment": "a=b",
    }
    with pytest.raises(UserError, match="not KEY=VALUE"):
        parse_sbatch_options(["partition"])


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("90", 90),
        ("90:00", 90),
        ("90:01", 91),
        ("04:00:00", 240),
        ("1:30:30", 91),
        ("1-0", 1440),
        ("1-12:30", 2190),
        ("2-00:00:01", 2881),
    ],
)
def test_a_time_limit_is_in_minutes(text: str, minutes: int) -> None:
    """submitit computes with the number: after a text, which sbatch takes, no job was queued again."""
    assert parse_sbatch_options([f"time={text}"]) == {"time": minutes}


@pytest.mark.parametrize("text", ["infinite", "4h", "1:2:3:4", "0", "00:00", "1-", "-1", "٣"])
def test_what_is_no_time_limit_is_refused(text: str) -> None:
    """Before anything is submitted."""
    with pytest.raises(UserError, match=f"time={text}") as error:
        parse_sbatch_options([f"time={text}"])
    assert "time=240" in error.value.hint


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"on": "local", "cpus": 2}, "--cpus"),
        ({"on": "local", "gpus": 1}, "--gpus"),
        ({"on": "ray", "slurm": ["a=b"]}, "--slurm without --on slurm"),
    ],
)
def test_options_that_mean_nothing_are_refused(given: dict[str, Any], told: str, tmp_path: Path) -> None:
    """Rather than passed over in silence."""
    with pytest.raises(UserError, match=told):
        choose_executor(given.pop("on"), WorkerSettings(RunStore(tmp_path)), **given)
