"""A real `mlflow server`: recorded through it, killed in mid-run, started again, synced."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from attncli import records
from attncli.errors import UserError
from attncli.track import RunStore, Tracker, list_run_rows, sync_runs
from tests.track.recorded_runs import FACTS, WHOLE, doubled, epoch, folder, recipe

pytestmark = pytest.mark.slow


class Server:
    """An MLflow server on a port of its own, which can be killed and started again on the same store."""

    def __init__(self, path):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.path = path
        self.uri = f"http://127.0.0.1:{self.port}"

    def start(self):
        """Start it and wait until it answers."""
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "mlflow", "server", "--port", str(self.port), "--workers", "1",
                "--backend-store-uri", f"sqlite:///{self.path}/server.db",
                "--artifacts-destination", str(self.path / "files"),
            ],
            env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"},
            cwd=self.path, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        end = time.monotonic() + 300
        while time.monotonic() < end:
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=2):
                    return
            except OSError:
                time.sleep(0.2)
        raise TimeoutError("the server did not come up")

    def kill(self):
        """kill -9 the server and its workers."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def server(tmp_path):
    """A server that answers."""
    found = Server(tmp_path)
    found.start()
    yield found
    found.kill()


def test_killed_in_mid_run_then_synced(server, tmp_path, capfd, monkeypatch):
    """The training goes on without its server; sync brings in the rest, once, with the files where the server says."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    runs = tmp_path / "runs"
    of = recipe()
    path = folder(runs, of)
    live = Tracker.open(RunStore(runs, server.uri)).start_run(of, FACTS, folder=path)

    def log(record):
        records.append_record(path, record)
        began = time.monotonic()
        live.log_record(record)
        assert time.monotonic() - began < 60  # what waits for the server waits for minutes

    log(epoch(1))
    _until(lambda: "train/loss" in list_run_rows(RunStore(runs, server.uri))[0]["metrics"])
    server.kill()
    for record in WHOLE[2:]:
        log(record)
    assert "attncli sync" in live.end_run("FINISHED")
    with pytest.raises(UserError, match="does not answer"):
        sync_runs(RunStore(runs, server.uri))

    server.start()
    assert list_run_rows(RunStore(runs, server.uri))[0]["status"] == "RUNNING"
    [done] = sync_runs(RunStore(runs, server.uri))
    assert (done.created, done.status, done.problem) == (False, "FINISHED", "")
    assert done.points > 0
    assert sync_runs(RunStore(runs, server.uri))[0].points == 0

    from mlflow import MlflowClient

    client = MlflowClient(server.uri)
    [row] = list_run_rows(RunStore(runs, server.uri))
    assert row["metrics"]["test/top1"] == 0.75
    assert [m.step for m in client.get_metric_history(row["run_id"], "train/loss")] == [1, 2]
    assert doubled(client, row["run_id"]) == []
    assert {f.path for f in client.list_artifacts(row["run_id"])} == {"recipe.yaml", "log.jsonl", "origin.json"}
    assert list((tmp_path / "files").rglob("recipe.yaml"))
    assert not (runs / "mlartifacts").exists()
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


def _until(holds, seconds=300):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "did not come to hold"
        time.sleep(0.2)
