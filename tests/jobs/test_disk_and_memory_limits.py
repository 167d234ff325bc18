"""Sweeps whose disk is full, whose tracking server goes away, whose memory the system takes back."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from attncli.track import RunStore, Tracker, list_run_rows, sync_runs
from tests.jobs import case
from tests.track.recorded_runs import doubled
from tests.track.test_server import Server

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sweep's file and its undisturbed runs in `calm`."""
    path = tmp_path_factory.mktemp("calm")
    done = case.call(case.write(path, attn="eca", seeds=2, epochs=3), path / "calm")
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 6 MB in memory."""
    path = tmp_path / "disk"
    path.mkdir()
    if os.getuid() or shutil.which("mount") is None:
        pytest.skip("making a small disk takes root")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "small", path], check=False).returncode:
        pytest.skip("no disk in memory to be had here")
    yield path
    subprocess.run(["umount", "--lazy", path], check=True)


def test_a_full_disk(calm: Path, small_disk: Path) -> None:
    """Runs fail with the reason in a line; with room made, the same call completes the sweep, to the bit."""
    file, runs = calm / "tiny.yaml", small_disk / "runs"
    done = case.call(file, runs)
    assert done.returncode in (1, 2), done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert "No space left" in done.stdout + done.stderr or "disk is full" in done.stdout + done.stderr
    subprocess.run(["mount", "-o", "remount,size=200m", small_disk], check=True)
    again = case.call(file, runs)
    assert again.returncode == 0, again.stdout + again.stderr
    assert case.faults(runs, case.figures(calm / "calm")) == []


def test_a_server_that_goes_away_and_comes_back(calm: Path, tmp_path: Path) -> None:
    """The sweep goes on without it; the next call and `attncli sync` bring in the rest, once."""
    server, file, runs = Server(tmp_path), calm / "tiny.yaml", tmp_path / "runs"
    server.start()
    try:
        sweep = case.start(file, runs, "--tracking-uri", server.uri)
        case.until(sweep, "begun", 2)
        until = time.monotonic() + 300
        while not list(runs.glob("*/checkpoint/state.json")) and time.monotonic() < until:
            time.sleep(0.05)
        server.kill()
        out, err = sweep.communicate(timeout=600)
        assert "Traceback" not in out + err
        server.start()
        again = case.call(file, runs, "--tracking-uri", server.uri)
        assert again.returncode == 0, again.stdout + again.stderr
        sync_runs(RunStore(runs, server.uri))
        assert case.figures(runs) == case.figures(calm / "calm")
        found = list_run_rows(RunStore(runs, server.uri))
        assert {row["status"] for row in found} == {"FINISHED"}
        assert len(found) == len({row["digest"] for row in found}) == 4
        client = Tracker.open(RunStore(runs, server.uri))._client
        assert [key for row in found for key in doubled(client, row["run_id"])] == []
        parents = client.search_runs([e.experiment_id for e in client.search_experiments()], "tags.kind = 'sweep'")
        assert [run.info.status for run in parents] == ["FINISHED"]
    finally:
        server.kill()


def test_a_worker_that_eats_memory(calm: Path, tmp_path: Path) -> None:
    """A watcher kills what grows too large, as the system would; the run is told, the same call completes the sweep."""
    file, runs = calm / "tiny.yaml", tmp_path / "runs"
    sweep = case.start(file, runs)
    case.until(sweep, "begun", 2)
    largest: psutil.Process = max(case.workers(sweep), key=lambda p: p.memory_info().rss)
    assert Path(f"/proc/{largest.pid}/oom_score_adj").read_text().strip() == "500"  # it is to be the first to go
    largest.kill()
    out, _ = sweep.communicate(timeout=600)
    assert sweep.returncode == 1
    assert "killed by SIGKILL" in out
    assert "--jobs" in out
    assert "train.batch_size" in out
    assert case.call(file, runs).returncode == 0
    assert case.faults(runs, case.figures(calm / "calm")) == []
