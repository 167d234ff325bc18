"""A tracking server on PostgreSQL: eight workers log at once, and nothing is lost."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from attncli import records
from attncli.track import Tracker, list_run_rows
from tests.shared import ROOT
from tests.track.recorded_runs import doubled

pytestmark = pytest.mark.slow
WORKERS, RUNS, EPOCHS = 8, 3, 40  # workers, runs of each, epochs of a run
PLACES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin")

WORKER = """
import sys
from pathlib import Path
from attncli import records
from attncli.track import Tracker
from tests.track.made import FACTS, epoch, evaluation, folder, recipe

uri, runs, worker, count, epochs = sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:])
tracker = Tracker.open(uri, runs)
for n in range(count):
    of = recipe(seed=100 * worker + n)
    path = folder(runs, of)
    live = tracker.start(of, FACTS, folder=path)
    for record in [*map(epoch, range(1, epochs + 1)), evaluation()]:
        records.append(path, record)
        live.log(record)
    warning = live.end("FINISHED")
    assert warning is None, warning
"""


def free_port() -> int:
    """A port that nobody uses at this moment."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def program(name: str) -> str:
    """A program of PostgreSQL, which Debian keeps off the path."""
    found = shutil.which(name) or next((str(p) for g in PLACES for p in Path("/").glob(f"{g[1:]}/{name}")), None)
    if found is None:
        pytest.skip("no PostgreSQL here")
    return found


@pytest.fixture
def database() -> Iterator[str]:
    """The address of an empty database on loopback; PostgreSQL refuses to run as root, so then another user does."""
    pytest.importorskip("psycopg", reason="the driver psycopg is not installed")
    initdb, postgres = program("initdb"), program("postgres")
    user, group = ("nobody", "nogroup") if os.getuid() == 0 else (None, None)
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are root's alone
        if user:
            shutil.chown(folder, user, group)
        data, port = f"{folder}/data", free_port()
        made = [initdb, "-D", data, "-U", "mlflow", "-A", "trust", "--no-sync"]
        subprocess.run(made, check=True, stdout=subprocess.DEVNULL, cwd=folder, user=user, group=group)
        process = subprocess.Popen(
            [postgres, "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", folder],
            stderr=subprocess.DEVNULL, cwd=folder, user=user, group=group,
        )  # fmt: skip
        yield f"postgresql+psycopg://mlflow@127.0.0.1:{port}/postgres"
        process.send_signal(signal.SIGINT)  # a fast shutdown
        process.wait(60)


@pytest.fixture
def server(database: str, tmp_path: Path) -> Iterator[str]:
    """The address of an MLflow server on that database, started as the README says."""
    port = free_port()
    words = ["--backend-store-uri", database, "--artifacts-destination", str(tmp_path / "files")]
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "2", *words],
        env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"},
        cwd=tmp_path, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    uri, until = f"http://127.0.0.1:{port}", time.monotonic() + 180
    try:
        while not answers(uri):
            assert time.monotonic() < until, "the server did not come up"
            assert process.poll() is None, "the server ended"
            time.sleep(0.3)
        yield uri
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def answers(uri: str) -> bool:
    """Whether the server is there."""
    try:
        urllib.request.urlopen(f"{uri}/health", timeout=2).close()
    except OSError:
        return False
    return True


def test_eight_workers_lose_nothing(server: str, tmp_path: Path) -> None:
    """Every run is there once and FINISHED, with every point of its records once."""
    from mlflow import MlflowClient

    runs = tmp_path / "runs"
    runs.mkdir()
    began = time.monotonic()
    words = [sys.executable, "-c", WORKER, server, str(runs)]
    started = [
        subprocess.Popen([*words, str(n), str(RUNS), str(EPOCHS)], cwd=ROOT, stderr=subprocess.PIPE)
        for n in range(WORKERS)
    ]
    errors = [p.communicate(timeout=500)[1].decode() for p in started]
    assert [p.returncode for p in started] == [0] * WORKERS, errors
    seconds = time.monotonic() - began
    found = list_run_rows(server, runs)
    assert sorted(row["seed"] for row in found) == sorted(100 * w + n for w in range(WORKERS) for n in range(RUNS))
    assert {row["status"] for row in found} == {"FINISHED"}
    client = MlflowClient(Tracker.open(server, runs).uri)
    points = 0
    for row in found:
        assert doubled(client, row["run_id"]) == []
        history = client.get_metric_history(row["run_id"], "train/loss")
        told = [r.train_loss for r in records.read(runs / row["digest"]) if isinstance(r, records.Epoch)]
        assert [m.value for m in sorted(history, key=lambda m: m.step)] == told
        assert len(told) == EPOCHS
        points += len(history) * sum(k.startswith(("train/", "val/")) for k in row["metrics"])
    told_of = f"{len(found)} runs of {WORKERS} workers at once, {points:,} points of epochs in {seconds:.0f} s"
    print(f"\n{told_of}: lost 0, doubled 0")
