"""The worker's own parts: its requests, its log, how a task's end is told, what it remembers, what it times."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TextIO

import pytest

from attncli import data
from attncli.data.dataset import Dataset
from attncli.errors import CollectedError, RunFailedError, UserError
from attncli.jobs import tasks, worker_main
from attncli.jobs.tasks import cache_datasets
from attncli.recipe import Data, Recipe
from attncli.records import Epoch, Evaluation
from attncli.run import RunInUseError
from attncli.track import RunStore
from attncli.train import Interrupted, TrainingProgress
from tests.shared import ROOT


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (None, ("FINISHED", "", "")),
        (RunInUseError("held"), ("OCCUPIED", "", "")),
        (Interrupted("stopped by SIGTERM at epoch 1, step 2", "h"), ("KILLED", "stopped by SIGTERM at epoch 1", "the")),
        (KeyboardInterrupt(), ("KILLED", "stopped", "the same sweep")),
        (RunFailedError("the loss is nan", "lower"), ("FAILED", "the loss is nan", "lower")),
        (CollectedError([UserError("a", "x"), UserError("b", "y")]), ("FAILED", "a; b", "x")),
        (RuntimeError("out of\nideas"), ("FAILED", "RuntimeError: out of", "")),
    ],
)
def test_endings(raised: BaseException | None, told: tuple[str, str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever a run raises is told as a status, a problem and a hint, and printed for the log."""

    def work() -> None:
        if raised:
            raise raised

    found = worker_main.run_and_summarize(work)
    assert found["status"] == told[0]
    assert found.get("problem", "").startswith(told[1])
    assert found.get("hint", "").startswith(told[2])
    printed = "".join(capsys.readouterr())
    assert bool(printed) == (told[0] in ("KILLED", "FAILED"))
    assert ("Traceback" in printed) == isinstance(raised, RuntimeError)


def test_all_output_goes_to_the_runs_log(tmp_path: Path) -> None:
    """What Python and what a library writes, of several attempts one after the other; outside of it nothing."""
    code = (
        "import os, sys; from pathlib import Path; from attncli.jobs.worker_main import redirected_output\n"
        "for n in range(2):\n"
        f"    with redirected_output(Path({str(tmp_path / 'run')!r})):\n"
        "        print('python', n); print('error', n, file=sys.stderr); os.system('echo library')\n"
        "print('after')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert (done.stdout, done.stderr) == ("after\n", "")
    log = (tmp_path / "run" / "output.log").read_text().split("\n")
    assert sorted(log) == sorted(["python 0", "error 0", "library", "python 1", "error 1", "library", ""])


def test_a_worker_ends_with_its_orders(tmp_path: Path) -> None:
    """Without requests it says that it is ready, with how many threads, and goes: a dead parent leaves no process."""
    settings = json.dumps({"runs": str(tmp_path), "tracking_uri": None, "figure_hook": ""})
    done = subprocess.run(
        [sys.executable, "-m", "attncli.jobs.worker_main", settings],
        input="",
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert json.loads(done.stdout) == {"event": "ready", "threads": 1}
    assert list(tmp_path.iterdir()) == []


def make_request(recipe: Recipe) -> worker_main.TaskRequest:
    """What the parent sends for a run."""
    digest = recipe.compute_digest()
    return {"recipe": recipe.model_dump(mode="json"), "digest": digest, "timing": False, "tags": {}, "threads": 1}


def test_a_file_that_was_edited_since_the_plan_ends_the_task(tmp_path: Path) -> None:
    """The run of the new content is not in the plan: it was trained elsewhere, and the planned one called finished."""
    file = tmp_path / "mine.py"
    file.write_text("from torch import nn\n\nclass Gate(nn.Identity): ...\n")
    own = Recipe().model.model_copy(update={"backbone": "resnet20", "attn": f"{file}:Gate"})
    request = make_request(Recipe().model_copy(update={"model": own}))
    run_request = worker_main._make_request_runner(RunStore(tmp_path / "runs"), "", lambda event, **values: None)
    for edit in (lambda: file.write_text("# another\n"), file.unlink):
        edit()
        outcome = run_request(request)
        assert outcome["status"] == "FAILED"
        assert "mine.py has changed since the sweep was planned" in outcome["problem"]
    assert not (tmp_path / "runs").exists()


def test_a_users_exit_ends_one_run(tmp_path: Path) -> None:
    """`exit()` in a mechanism, which closes stdin, and a question to the user end the run and hang no worker."""
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n\nclass Gate(nn.Module):\n    def __init__(self, channels):\n"
        "        super().__init__()\n        try:\n            input()\n        except EOFError:\n            exit()\n"
    )
    own = Recipe().model.model_copy(update={"backbone": "resnet20", "attn": f"{tmp_path}/mine.py:Gate"})
    recipe = Recipe().model_copy(update={"model": own})
    settings = json.dumps({"runs": str(tmp_path / "runs"), "tracking_uri": None, "figure_hook": ""})
    request = make_request(recipe)
    with subprocess.Popen(
        [sys.executable, "-m", "attncli.jobs.worker_main", settings],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    ) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write(json.dumps(request) + "\n")
        worker.stdin.flush()  # and it stays open, as in a sweep
        try:
            assert worker.wait(timeout=120) == 0
        finally:
            worker.kill()
        ended = json.loads(worker.stdout.read().splitlines()[-1])
    assert (ended["event"], ended["status"]) == ("ended", "FAILED")
    assert "mine.py, line 9: ends the process: exit()" in ended["problem"]


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[TextIO, int, list[int]]]:
    """(a stream of requests, its writing end, the signals that this process sent itself)."""
    reader, writer = os.pipe()
    killed: list[int] = []
    with os.fdopen(reader) as stdin:
        monkeypatch.setattr(worker_main.os, "kill", lambda pid, number: killed.append(number))
        yield stdin, writer, killed


def test_the_end_of_orders_stops_a_task(pipe: tuple[TextIO, int, list[int]]) -> None:
    """A pipe that closes in the middle of a task is a SIGTERM, and nothing comes after it."""
    stream, writer, killed = pipe
    requests = iter(worker_main.RequestInbox(stream))
    os.write(writer, b'{"n": 1}\n')
    assert next(requests) == {"n": 1}
    os.close(writer)
    until = time.monotonic() + 300
    while not killed and time.monotonic() < until:
        time.sleep(0.01)
    assert killed == [signal.SIGTERM]
    assert next(requests, None) is None


def test_the_end_of_orders_between_tasks_is_no_signal(pipe: tuple[TextIO, int, list[int]]) -> None:
    """There is nothing to save then."""
    stream, writer, killed = pipe
    os.close(writer)
    assert list(worker_main.RequestInbox(stream)) == []
    assert killed == []


def test_images_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same images are kept for the next run, other ones are read, and no more than two are held."""
    read: list[str | None] = []

    def load(recipe: Data, **options: object) -> SimpleNamespace:
        read.append(recipe.name)
        return SimpleNamespace(name=recipe.name)

    monkeypatch.setattr(data, "load", load)
    remembered = cache_datasets()
    first = remembered(Data(name="digits"), cache=Path("x"))
    assert remembered(Data(name="digits"), cache=Path("x")) is first
    for name in ("cifar10", "digits", "cifar100", "digits", "cifar10"):
        assert remembered(Data(name=name)).name == name
    assert read == ["digits", "cifar10", "cifar100", "cifar10"]
    remembered(Data(name="digits", per_class=3))
    assert len(read) == 5


def test_the_parent_hears_what_it_draws(capsys: pytest.CaptureFixture[str]) -> None:
    """Stages, steps and warnings go to the parent; epochs and tests are printed, under a heading."""
    said: list[tuple[str, dict[str, object]]] = []
    teller = tasks.EventReporter(lambda event, **values: said.append((event, values)))
    teller.on_stage("begin", "se, seed 0")
    teller.on_reading("decoding", 1, 9)
    teller.on_reading("decoding", 9, 9)
    teller.on_step(TrainingProgress(epoch=1, epochs=2, step=3, steps=4, images_per_s=5.0, seconds_left=6.0, loss=7.0))
    teller.on_record(Epoch(epoch=1, train_loss=0.5, lr=0.1, train_images_per_s=1.0, train_seconds=1.0, val_top1=0.25))
    teller.on_record(
        Evaluation(split="test", images=4, loss=1.0, top1=0.5, top5=1.0, images_per_s=1.0, confusion=[[4]]),
    )
    teller.on_warning("store away")
    assert said == [
        ("stage", {"text": "begin"}),
        ("stage", {"text": "decoding: 9 of 9"}),
        ("step", {"epoch": 1, "epochs": 2, "images_per_s": 5.0, "seconds_left": 6.0}),
        ("warned", {"text": "store away"}),
    ]
    heading, *lines = capsys.readouterr().out.splitlines()
    assert heading.startswith("== 2")
    assert lines == [
        "se, seed 0: begin",
        "epoch 1: loss 0.5000, validation top-1 25.00%",
        "test: top-1 50.00% of 4 images",
        "warning: store away",
    ]


@pytest.fixture(scope="module")
def timed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Recipe, Dataset]:
    """A folder in which a small recipe was timed, the recipe, its images."""
    runs = tmp_path_factory.mktemp("runs")
    values = {
        "data": {"per_class": 4},
        "model": {"backbone": "resnet20", "attn": "eca"},
        "measure": {"seconds": 0.1, "repeats": 3, "batch_size": 2},
    }
    recipe = Recipe.model_validate(values)
    images = data.load(recipe.data, cache=runs / "cache")
    tasks.time_task(recipe, runs=runs, load_dataset=lambda *_, **__: images)
    return runs, recipe, images


def test_a_network_is_timed_once_for_all_seeds(timed: tuple[Path, Recipe, Dataset]) -> None:
    """The second seed takes the first one's figure."""
    runs, recipe, images = timed
    before = (runs / "speeds.json").read_bytes()
    other = recipe.model_copy(update={"seed": 1})
    first = tasks.time_task(recipe, runs=runs, load_dataset=lambda *_, **__: images)
    assert tasks.time_task(other, runs=runs, load_dataset=lambda *_, **__: images) == first
    assert (runs / "speeds.json").read_bytes() == before


def test_a_run_takes_the_speed_that_was_timed_before(timed: tuple[Path, Recipe, Dataset]) -> None:
    """With the number of threads of then; with another it goes without, and nothing is timed in the middle."""
    from attncli import model
    from attncli.measure import environment
    from attncli.measure.throughput import UntimedError, cached_throughput
    from attncli.run import make_input_spec

    runs, recipe, images = timed
    like = make_input_spec(images)
    net = model.build(recipe, like)
    place = (recipe, net, lambda: model.build(recipe.make_baseline(), like), like.classes, like.size, like.frames)
    threads = environment.describe_machine()["threads"]
    assert cached_throughput(*place, runs=runs, threads=threads).repeats >= 3
    with pytest.raises(UntimedError):
        cached_throughput(*place, runs=runs, threads=threads + 1)
