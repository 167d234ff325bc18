"""A sweep's way from plan to end, with an executor that only pretends."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from attncli import track
from attncli.errors import RunFailedError
from attncli.jobs import Task, TaskEnded, TaskEvent, execute_plan, plan_sweep
from attncli.jobs.events import EndStatus, TaskSource
from attncli.jobs.execute import summarize_status
from attncli.jobs.plan import SweepPlan
from attncli.records import PLAN_TAG, Result
from attncli.system.signals import StopRequest
from attncli.track import RunStore
from attncli.track.parent_runs import PARENT_TAG
from tests.jobs.case import client_of

SWEEP = """
recipe: {model: {backbone: resnet20}, measure: {speed: true}}
axes: {attn: [se, eca], dataset: [digits, {dataset: clips, data.of: digits}], seeds: 2}
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of runs, with a store."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        path = tmp_path_factory.mktemp("runs")
        track.Tracker.open(RunStore(path))
        return path


@pytest.fixture
def made(tmp_path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch) -> SweepPlan:
    """A plan of twelve runs in two experiments."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    path = tmp_path / f"{tmp_path.name}.yaml"
    path.write_text(SWEEP)
    return plan_sweep(path, runs=runs)


class Pretend:
    """Ends every run as `endings` says by mechanism, every timing as `timing` does; keeps what it was given."""

    def __init__(self, **endings: EndStatus) -> None:
        self.endings = endings
        self.tasks: list[Task] = []

    def __call__(self, source: TaskSource, stop: StopRequest) -> Iterator[TaskEvent]:
        """The endings, until it is told to stop."""
        self.tasks = list(source.open_tasks())
        assert [task.timing for task in self.tasks] == [True] * source.timings + [False] * source.runs
        for task in self.tasks:
            if stop.reason:
                return
            yield TaskEnded(task, self.endings.get("timing" if task.timing else task.recipe.model.attn, "FINISHED"))


def parents(runs: Path, name: str) -> dict[str, str]:
    """How each parent run of a sweep ended, by experiment."""
    client = client_of(runs)
    named = {e.experiment_id: e.name for e in client.search_experiments()}
    found = client.search_runs(list(named), f"tags.kind = 'sweep' and tags.sweep = '{name}'")
    return {named[run.info.experiment_id]: run.info.status for run in found}


def test_every_network_is_timed_before_anything_is_trained(made: SweepPlan, runs: Path) -> None:
    """One timing for each network whatever its seeds, first; then the runs in their order, below their parents."""
    executor = Pretend()
    list(execute_plan(made, executor, StopRequest(), RunStore(runs)))
    timings = [task for task in executor.tasks if task.timing]
    assert executor.tasks[: len(timings)] == timings
    assert [t.recipe.compute_group() for t in timings] == list(
        dict.fromkeys(r.recipe.compute_group() for r in made.runs)
    )
    trained = executor.tasks[len(timings) :]
    assert [t.digest for t in trained] == [r.digest for r in made.runs]
    assert len({t.tags[PARENT_TAG] for t in trained if t.recipe.data.name == "digits"}) == 1
    assert len({t.tags[PARENT_TAG] for t in trained}) == 2
    assert {t.tags[PLAN_TAG] for t in trained} == {"2"}  # seeds of each
    assert parents(runs, made.name) == {"digits-resnet20": "FINISHED", "clips-resnet20": "FINISHED"}


def test_a_failure_leaves_the_others_and_shows(made: SweepPlan, runs: Path) -> None:
    """All tasks are given out, and the parents say FAILED."""
    executor = Pretend(se="FAILED")
    events = list(execute_plan(made, executor, StopRequest(), RunStore(runs)))
    assert len(events) == len(executor.tasks)
    assert set(parents(runs, made.name).values()) == {"FAILED"}


def test_a_failed_timing_is_no_failed_run(made: SweepPlan, runs: Path) -> None:
    """The runs are done without the speed, even where the first failure is to stop the sweep."""
    stop = StopRequest()
    list(execute_plan(made, Pretend(timing="FAILED"), stop, RunStore(runs), fail_fast=True))
    assert not stop.reason
    assert set(parents(runs, made.name).values()) == {"FINISHED"}


def test_fail_fast_stops_at_the_first_failure(made: SweepPlan, runs: Path) -> None:
    """The executor is told to stop, with the name of the run that failed."""
    stop = StopRequest()
    events = list(execute_plan(made, Pretend(se="FAILED"), stop, RunStore(runs), fail_fast=True))
    ended = [e for e in events if isinstance(e, TaskEnded) and not e.task.timing]
    assert [e.status for e in ended] == ["FINISHED", "FAILED"]
    assert stop.reason == f"stopped by the failure of {ended[-1].task.title}"
    assert set(parents(runs, made.name).values()) == {"KILLED"}


def test_an_error_of_the_executor_closes_the_parents(made: SweepPlan, runs: Path) -> None:
    """What the executor raises comes through, and nothing stays RUNNING."""

    def broken(source: TaskSource, stop: StopRequest) -> Iterator[TaskEvent]:
        yield TaskEnded(source.open_tasks()[0], "FINISHED")
        raise RunFailedError("a worker did not start")

    with pytest.raises(RunFailedError, match="did not start"):
        list(execute_plan(made, broken, StopRequest(), RunStore(runs)))
    assert set(parents(runs, made.name).values()) == {"FAILED"}


def test_a_later_call_goes_on_with_the_same_parents(made: SweepPlan, runs: Path) -> None:
    """More seeds of a sweep are nested below the parent that is there."""
    for _ in range(2):
        list(execute_plan(made, Pretend(), StopRequest(), RunStore(runs)))
    assert len(parents(runs, made.name)) == 2


def test_a_parent_whose_process_died_is_closed(made: SweepPlan, runs: Path) -> None:
    """A sweep that was killed does not stay RUNNING once anything opens the store."""
    begun = track.begin_parent_runs("killed", [made.runs[0].recipe], RunStore(runs))
    client = client_of(runs)
    ((_, tags),) = begun.items()
    client.set_tag(tags[PARENT_TAG], "pid.started", "1.0")
    track.Tracker.open(RunStore(runs))
    assert client.get_run(tags[PARENT_TAG]).info.status == "KILLED"


def test_a_finished_plan_costs_nothing(tmp_path: Path, made: SweepPlan) -> None:
    """No store is opened and no executor asked."""
    done = SweepPlan(made.name, ())
    assert list(execute_plan(done, Pretend(), StopRequest(), RunStore(tmp_path / "none", "http://127.0.0.1:9"))) == []
    assert not (tmp_path / "none").exists()


def test_a_sweep_killed_before_its_end_is_closed_by_the_next(made: SweepPlan, runs: Path) -> None:
    """Killed after its last run, it leaves parents that the next call, with nothing to do, closes as FINISHED."""
    done = SweepPlan(made.name, tuple(replace(run, result=cast(Result, object())) for run in made.runs))
    track.begin_parent_runs(made.name, [run.recipe for run in made.runs], RunStore(runs))
    (runs / f".{made.name}.begun").touch()
    assert list(execute_plan(done, Pretend(), StopRequest(), RunStore(runs))) == []
    assert set(parents(runs, made.name).values()) == {"FINISHED"}
    assert not list(runs.glob("*.begun"))


def test_a_sweep_may_have_any_name(made: SweepPlan, runs: Path) -> None:
    """That of a plan for many claims is longer than a file's name, and a user's ids may have slashes."""
    for name in ("claims " + "x" * 300, "claims mine/better"):
        plan = replace(made, name=name)
        list(execute_plan(plan, Pretend(), StopRequest(), RunStore(runs)))
        assert set(parents(runs, name).values()) == {"FINISHED"}
    assert not list(runs.glob(".claims*"))


def test_a_new_folder_of_runs_with_a_store_elsewhere(tmp_path: Path, made: SweepPlan, runs: Path) -> None:
    """A server, or another folder's file, makes no folder for the runs; one that is not there yet is no error."""
    new, store = tmp_path / "shared" / "new", f"sqlite:///{runs / 'mlflow.db'}"
    ended = list(execute_plan(made, Pretend(), StopRequest(), RunStore(new, store)))
    assert sum(isinstance(event, TaskEnded) and event.status == "FINISHED" for event in ended) >= len(made.runs)
    assert new.is_dir()
    assert set(parents(runs, made.name).values()) == {"FINISHED"}


def test_stopped_with_nothing_left_is_finished() -> None:
    """A signal that comes after the last run changes nothing about the sweep."""
    assert summarize_status(["FINISHED"] * 2, 2, stopped=True) == "FINISHED"
    assert summarize_status(["FINISHED"], 2, stopped=True) == "KILLED"
    assert summarize_status(["FINISHED", "KILLED"], 2, stopped=False) == "FAILED"
