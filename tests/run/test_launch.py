"""One run in two processes (gloo), as a user starts it: by --processes and by torch's launcher itself."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from attncli import records
from attncli.commands.run import _is_one_of_several
from attncli.errors import LAUNCHER_FOLDER_VARIABLE, RunFailedError, UserError, report_to_launcher
from attncli.records import Evaluation
from attncli.run import launch
from attncli.run.launch import make_launch_error
from attncli.system import gpu_support, memory_limit
from tests.jobs import case
from tests.shared import ROOT
from tests.train.test_distributed import free_port

OPTIONS = (
    "run --attn se --backbone resnet20 --set data.fraction=0.4 --set train.batch_size=32 --set measure.speed=false"
)
ACCELERATE = [
    sys.executable,
    "-m",
    "accelerate.commands.accelerate_cli",
    "launch",
    "--multi_gpu",
    "--num_processes",
    "2",
]
PLAIN = [sys.executable, "-m", "attncli"]
TORCHRUN = [sys.executable, *["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "attncli"]]


@pytest.mark.parametrize(
    ("requested", "gpus", "words"),
    [
        ("cuda", 0, "--device cuda: driver 550 is too old"),
        ("cuda", 2, "--processes 3: there are 2 GPUs"),
        ("", 1, "--processes 3: there is 1 GPU"),
        ("cuda:1", 2, "--device cuda:1 for 3 processes"),
        ("mps", 0, "--device mps for 3 processes"),
    ],
)
def test_what_the_processes_cannot_have_is_refused_before_they_start(
    requested: str, gpus: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one line, as bad input; nothing has been started then."""
    monkeypatch.setenv(gpu_support.DEVICE_VARIABLE, requested)
    monkeypatch.setattr(launch.torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(gpu_support, "find_gpu_obstacle", lambda: ("driver 550 is too old", "install 580"))
    with pytest.raises(UserError, match=words) as caught:
        launch.launch_ranks(3, [])
    assert caught.value.code == 2


def test_a_torch_that_cannot_connect_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows, where torch's launcher asks for a library that the wheels lack: one line, before any starts."""

    def refuse(*given: Any, **options: Any) -> None:
        raise RuntimeError("use_libuv was requested but PyTorch was built without libuv support\nmore")

    monkeypatch.setattr("torch.distributed.elastic.rendezvous.c10d_rendezvous_backend.TCPStore", refuse)
    with pytest.raises(UserError, match=r"--processes 2: .* without libuv support$") as caught:
        launch.launch_ranks(2, [])
    assert (caught.value.code, "WSL" in caught.value.hint) == (2, True)


def test_more_processes_than_there_is_memory_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are refused before one is started; the hint says how many there is room for."""
    monkeypatch.setattr(memory_limit, "read_free_memory", lambda: 3 * memory_limit.PROCESS_BYTES + 1)
    memory_limit.check_process_memory("--processes", 3)
    with pytest.raises(UserError, match="--processes 4: each takes") as caught:
        launch.launch_ranks(4, [])
    assert caught.value.code == 2
    assert "use at most 3;" in caught.value.hint


def start(runs: Path, *words: str, by: list[str] = PLAIN, epochs: int = 2) -> "subprocess.Popen[str]":
    """A run in a process that starts others."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")} | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*by, *OPTIONS.split(), "--epochs", str(epochs), "--set", "train.precision=fp32", "--runs", str(runs), *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=ROOT,
    )  # fmt: skip


def whole(runs: Path, *words: str, **given: Any) -> tuple[str, str]:
    """(stdout, stderr) of a run that is to end well."""
    process = start(runs, *words, **given)
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    return out, err


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """(the folder of runs, stdout, stderr) of a run in two processes."""
    runs = tmp_path_factory.mktemp("two") / "runs"
    return runs, *whole(runs, "--processes", "2", "--json")


def test_one_of_two_measures_tracks_and_prints(two: tuple[Path, str, str]) -> None:
    """One result, each epoch told once, one MLflow run without doubled points, every test image counted once."""
    runs, out, err = two
    result = json.loads(out)
    assert result["status"] == "FINISHED"
    assert result["machine"]["processes"] == 2
    assert err.count("epoch   2/2") == 1
    assert "another" not in err
    (stored,) = case.mlflow_runs(runs)[result["digest"]]
    assert stored.info.status == "FINISHED"
    assert case.faults(runs, case.figures(runs)) == []
    (test,) = [r for r in records.read(runs / result["digest"]) if isinstance(r, Evaluation) and r.split == "test"]
    assert sum(map(sum, test.confusion)) == test.images == 382


def test_the_recipe_is_the_same_run(two: tuple[Path, str, str]) -> None:
    """Asked for in one process, the run is found finished: how many did it is no part of its identity."""
    out, err = whole(two[0], "--json")
    assert "--fresh" in err
    assert "epoch" not in err
    assert json.loads(out) == json.loads(two[1])


@pytest.mark.slow
@pytest.mark.parametrize("by", [TORCHRUN, [*ACCELERATE, "-m", "attncli"]], ids=["torchrun", "accelerate"])
def test_launchers_do_the_same(two: tuple[Path, str, str], tmp_path: Path, by: list[str]) -> None:
    """Started by torch's own launcher or Accelerate's, it is the same run to the last bit."""
    out, _ = whole(tmp_path, "--json", by=by)
    assert json.loads(out)["machine"]["processes"] == 2
    assert json.loads(out)["test_top1"] == json.loads(two[1])["test_top1"]
    assert case.figures(tmp_path) == case.figures(two[0])


@pytest.mark.slow
def test_two_processes_find_what_one_finds(tmp_path: Path) -> None:
    """Losses agree to a thousandth and accuracies to an image, at a learning rate that lets rounding grow little."""
    found: list[list[Any]] = []
    for processes in ("1", "2"):
        whole(tmp_path / processes, "--processes", processes, "--set", "train.lr=0.002")
        found += case.figures(tmp_path / processes).values()
    for a, b in zip(*found, strict=True):
        losses, tops = ((1, 3), (4,)) if len(a) == 5 else ((0,), (1,))
        assert [a[i] for i in losses] == pytest.approx([b[i] for i in losses], rel=1e-3)
        assert [a[i] for i in tops] == pytest.approx([b[i] for i in tops], abs=1 / 57)


@pytest.mark.slow
def test_two_machines(tmp_path: Path) -> None:
    """Two launchers, as on two machines with one folder of runs, do one run; the first of all processes tells of it."""
    by = [*TORCHRUN[:3], "--nnodes", "2", "--nproc-per-node", "1", "--master-addr", "127.0.0.1"]
    by += ["--master-port", str(free_port())]
    nodes = [start(tmp_path, "--json", by=[*by, "--node-rank", rank, "-m", "attncli"]) for rank in "01"]
    told = [node.communicate(timeout=600) for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], told
    result = json.loads(told[0][0])
    assert (result["status"], result["machine"]["processes"]) == ("FINISHED", 2)
    assert told[1][0] == ""
    assert case.faults(tmp_path, case.figures(tmp_path)) == []


@pytest.mark.slow
def test_a_launcher_that_is_killed_leaves_nobody_behind(tmp_path: Path) -> None:
    """Its processes save and end, the run is free and not RUNNING, and the same command goes on from there."""
    process = start(tmp_path, "--processes", "2", epochs=40)
    case.until(process, "epoch")
    left = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    assert psutil.wait_procs(left, timeout=300)[1] == []
    process.communicate(timeout=300)
    (state,) = tmp_path.glob("*/checkpoint/state.json")
    done = json.loads(state.read_text())["epoch"]
    assert 0 < done < 40
    assert [r.info.status for found in case.mlflow_runs(tmp_path).values() for r in found] == ["KILLED"]
    _, err = whole(tmp_path, "--processes", "2", epochs=40)
    assert "resuming from its checkpoint" in err
    assert case.faults(tmp_path, case.figures(tmp_path)) == []


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_dies_ends_the_run_in_one_line(tmp_path: Path, rank: int) -> None:
    """Killed in its training, it is named; the same command goes on from the checkpoint, to the same bits."""
    runs = tmp_path / "wild"
    process = start(runs, "--processes", "2", epochs=12)
    until = time.monotonic() + 600
    while not list(runs.glob("*/checkpoint/state.json")):
        assert time.monotonic() < until
        time.sleep(0.05)
    member(process.pid, rank).kill()
    _, err = process.communicate(timeout=600)
    assert process.returncode == 1, err
    problem = f"Error: process {rank} of 2 was killed by SIGKILL"
    assert [line for line in err.splitlines() if "rror" in line] == [problem]
    assert {r.info.status for found in case.mlflow_runs(runs).values() for r in found} <= {"FAILED", "KILLED"}
    whole(runs, "--processes", "2", epochs=12)
    whole(tmp_path / "calm", "--processes", "2", epochs=12)
    assert case.faults(runs, case.figures(tmp_path / "calm")) == []


@pytest.mark.slow
def test_ctrl_c_saves_and_goes_on(tmp_path: Path) -> None:
    """Exit code 130, one line, a checkpoint."""
    process = start(tmp_path, "--processes", "2", epochs=40)
    case.until(process, "epoch")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=600)
    assert process.returncode == 130, err
    assert err.count("Error") == 1
    assert "stopped by SIG" in err or "stopped by another process" in err
    assert list(tmp_path.glob("*/checkpoint/state.json"))


def member(parent: int, rank: int) -> psutil.Process:
    """The process of a rank below a launcher."""
    return next(p for p in psutil.Process(parent).children(recursive=True) if p.environ().get("RANK") == str(rank))


def leave(folder: Path, monkeypatch: pytest.MonkeyPatch, rank: int, problem: str, *, common: bool) -> None:
    """Word of an error of one of the processes."""
    monkeypatch.setenv(LAUNCHER_FOLDER_VARIABLE, str(folder))
    monkeypatch.setenv("RANK", str(rank))
    error = RunFailedError(problem, "h")
    error.on_all_ranks = common
    assert report_to_launcher(error)


def test_the_reason_is_told_and_not_what_others_saw_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one process alone has met comes first, then who was killed, then what all have met."""
    leave(tmp_path, monkeypatch, 0, "another process has ended", common=True)
    assert make_launch_error(tmp_path, {0: 1, 1: -9}, 2).problem == "process 1 of 2 was killed by SIGKILL"
    assert make_launch_error(tmp_path, {0: -40}, 1).problem == "process 0 of 1 was killed by signal 40"
    assert make_launch_error(tmp_path, {0: 1}, 2).problem == "another process has ended"
    leave(tmp_path, monkeypatch, 1, "out of memory", common=False)
    error = make_launch_error(tmp_path, {0: 1, 1: 1}, 2)
    assert (error.problem, error.hint, error.code) == ("out of memory", "h", 1)


def test_a_death_without_a_word(tmp_path: Path) -> None:
    """The exit code is what there is to tell; a signal to the launcher is an interruption."""
    assert "process 1 with exit code 7" in make_launch_error(tmp_path, {1: 7}, 2).problem
    assert make_launch_error(tmp_path, {}, 2, stopped=True).code == 130


def test_one_process_where_several_were_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Accelerate's launcher without GPUs starts one in silence; that is told before anything is trained."""
    monkeypatch.delenv("RANK", raising=False)
    for name, value in {"ACCELERATE_MIXED_PRECISION": "no", "MASTER_PORT": "29500"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="asked for several processes and started one"):
        _is_one_of_several(None)
    assert not _is_one_of_several(1)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    assert _is_one_of_several(None)


def test_nobody_confides_outside_of_a_launch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of a run in one process is printed."""
    monkeypatch.delenv("RANK", raising=False)
    assert not report_to_launcher(UserError("x"))
