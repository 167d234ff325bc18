"""Real sweeps in real processes: done once, done right, whatever is killed on the way."""

import json
import os
import signal
from pathlib import Path

import pytest

from attncli import records
from tests.jobs import case


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sweep's file, and its undisturbed runs in `calm`."""
    path = tmp_path_factory.mktemp("sweep")
    case.write(path, attn="eca")
    done = case.call(path / "tiny.yaml", path / "calm", jobs=1)
    assert done.returncode == 0, done.stderr
    assert "4 runs, 4 finished" in done.stdout
    return path


def test_every_run_is_there_once_and_nested(folder: Path) -> None:
    """A mechanism and the plain network with two seeds each: four runs below one parent, all FINISHED."""
    stored = case.mlflow_runs(folder / "calm")
    (parent,) = stored.pop("sweep")
    assert parent.info.status == "FINISHED"
    assert [len(runs) for runs in stored.values()] == [1] * 4
    for (run,) in stored.values():
        assert run.info.status == "FINISHED"
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.tags["sweep"] == "tiny"
    assert case.faults(folder / "calm", case.figures(folder / "calm")) == []


def test_seeds_are_shared_with_the_baseline(folder: Path) -> None:
    """The mechanism has a plain network of each of its seeds."""
    results = [r for path in (folder / "calm").glob("*/result.json") if (r := records.read_result(path.parent))]
    seeds = {attn: {r.seed for r in results if r.attn == attn} for attn in ("none", "eca")}
    assert seeds == {attn: {0, 1} for attn in seeds}


def test_a_second_call_does_nothing(folder: Path) -> None:
    """No file is touched, no worker starts, and the answer is the same."""
    before = {p: p.stat().st_mtime_ns for p in (folder / "calm").rglob("*") if p.is_file()}
    done = case.call(folder / "tiny.yaml", folder / "calm", "--json")
    assert done.returncode == 0
    told = json.loads(done.stdout)
    assert told["failures"] == []
    assert [run["status"] for run in told["runs"]] == ["finished"] * 4
    assert "begun" not in done.stderr
    assert {p: p.stat().st_mtime_ns for p in (folder / "calm").rglob("*") if p.is_file()} == before


def test_a_run_keeps_what_was_printed(folder: Path) -> None:
    """output.log of each run tells its epochs."""
    for path in (folder / "calm").glob("*/result.json"):
        log = (path.parent / "output.log").read_text()
        assert "epoch 2: loss" in log
        assert "test: top-1" in log


def test_a_kill_and_a_stop_in_short(folder: Path, tmp_path: Path) -> None:
    """The fifty kills in short: a worker killed, the sweep terminated, the same call completes it to the bit."""
    file, runs = case.write(tmp_path, attn="eca", seeds=1), tmp_path / "runs"
    sweep = case.start(file, runs)
    case.until(sweep, "begun", 2)
    case.workers(sweep)[0].kill()
    case.until(sweep, "killed")
    sweep.terminate()
    _, err = sweep.communicate(timeout=300)
    assert sweep.returncode in (1, 130), err  # 1 where the other run was quicker than the signal
    assert "RUNNING" not in {run.info.status for runs_ in case.mlflow_runs(runs).values() for run in runs_}
    done = case.call(file, runs, jobs=1)
    assert done.returncode == 0, done.stderr
    calm = case.figures(folder / "calm")
    assert case.faults(runs, {digest: calm[digest] for digest in case.figures(runs)}) == []
    assert len(case.figures(runs)) == 2


@pytest.mark.slow  # it starts seven sweeps
def test_killed_stopped_and_shared(folder: Path) -> None:
    """A worker killed, the sweep terminated, the parent killed, two parents at once: the figures stay to the bit."""
    runs, file = folder / "wild", folder / "tiny.yaml"
    sweep = case.start(file, runs)
    case.until(sweep, "begun", 2)
    case.workers(sweep)[0].kill()
    case.until(sweep, "killed")
    case.until(sweep, "begun")
    sweep.terminate()
    out, _ = sweep.communicate(timeout=300)
    assert sweep.returncode == 130
    assert "stopped by SIGTERM; the same command" in out
    assert "RUNNING" not in {run.info.status for runs_ in case.mlflow_runs(runs).values() for run in runs_}

    sweep = case.start(file, runs, jobs=1)
    case.until(sweep, "begun")
    left = case.workers(sweep)
    os.kill(sweep.pid, signal.SIGKILL)
    sweep.communicate()
    pair = [case.start(file, runs, jobs=1) for _ in range(2)]
    for each in pair:
        _, err = each.communicate(timeout=300)
        assert each.returncode == 0, err
    assert not any(worker.is_running() for worker in left)
    assert case.faults(runs, case.figures(folder / "calm")) == []


TOLD = {
    "raises": "out of ideas",
    "nan": "the loss is nan at epoch 1, step 4",
    "hungry": "out of memory",
    "killed": "killed by SIGKILL",
}


@pytest.mark.parametrize("deeds", [("nan", "killed"), pytest.param(tuple(TOLD), marks=pytest.mark.slow)], ids=len)
def test_a_run_that_fails_leaves_the_others(tmp_path: Path, deeds: tuple[str, ...]) -> None:
    """One raises, one yields NaN, one wants too much memory, one is killed: each is named with its log, others done."""
    own = [case.write_own(tmp_path, name) for name in deeds]
    file = case.write(tmp_path, attn=", ".join([*map(str, own), "eca"]), seeds=1, epochs=1)
    done = case.call(file, tmp_path / "runs", jobs=1)
    assert done.returncode == 1
    assert f"{len(deeds) + 2} runs, 2 finished" in done.stdout
    assert all(TOLD[name] in done.stdout for name in deeds)
    logs = [line.partition("log: ")[2] for line in done.stdout.splitlines() if "log: " in line]
    assert ["Error: " in Path(log).read_text() for log in logs] == [True] * len(deeds)
    stored = case.mlflow_runs(tmp_path / "runs")
    statuses = {run.data.tags["attn"]: run.info.status for d, (run,) in stored.items() if d != "sweep"}
    ended = {name: "KILLED" if name == "killed" else "FAILED" for name in deeds}
    assert statuses == {"none": "FINISHED", "eca": "FINISHED"} | ended
    assert stored["sweep"][0].info.status == "FAILED"
