"""Facts of the store: which address is taken, how fast a dead one is told, that several processes may create it."""

import http.server
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from attncli.errors import UserError
from attncli.track import RunStore, delete_runs, store
from attncli.track.store_errors import make_store_error, redact_address, translated_store_errors


def test_default_is_beside_the_runs(tmp_path, monkeypatch):
    """Without a URI the store is an absolute SQLite file under runs, whatever the current folder."""
    monkeypatch.chdir(tmp_path)
    assert RunStore(Path("runs")).resolve_address() == f"sqlite:///{tmp_path}/runs/mlflow.db"


def test_who_is_heard_first(tmp_path, monkeypatch):
    """The option goes before MLFLOW_TRACKING_URI, and that before the default."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://one:5000")
    assert RunStore(tmp_path).resolve_address() == "http://one:5000"
    assert RunStore(tmp_path, "http://two:5000").resolve_address() == "http://two:5000"


def test_relative_database(tmp_path, monkeypatch):
    """A relative SQLite path is made absolute once, so that changing the folder later moves nothing."""
    monkeypatch.chdir(tmp_path)
    assert RunStore(tmp_path, "sqlite:///a/b.db").resolve_address() == f"sqlite:///{tmp_path}/a/b.db"


@pytest.mark.parametrize("uri", ["mlruns", "file:///tmp/mlruns", "sqlite://", "sqlite:///:memory:", "ftp://x"])
def test_stores_that_cannot_be(uri, tmp_path):
    """Folders of files, memory and unknown schemes are refused with an example of what is taken."""
    with pytest.raises(UserError, match="tracking store") as caught:
        RunStore(tmp_path, uri).resolve_address()
    assert "sqlite:///" in caught.value.hint


def test_where_files_go(tmp_path):
    """Beside an SQLite file, under runs for other databases, where the server says for a server."""
    assert (
        store.choose_artifact_location(RunStore(tmp_path, f"sqlite:///{tmp_path}/x/a.db"))
        == (tmp_path / "x" / "mlartifacts").as_uri()
    )
    assert (
        store.choose_artifact_location(RunStore(tmp_path, "postgresql://h/db")) == (tmp_path / "mlartifacts").as_uri()
    )
    assert store.choose_artifact_location(RunStore(tmp_path, "https://h")) is None


@pytest.mark.parametrize("scheme", ["http", "postgresql+psycopg2"])
def test_a_dead_server_is_told_at_once(scheme, tmp_path):
    """A port nobody listens at is a UserError without the password; nothing is tried again, which takes minutes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    began = time.monotonic()
    with pytest.raises(UserError, match="does not answer: Connection refused") as caught:
        store.connect_store(RunStore(tmp_path, f"{scheme}://me:secret@127.0.0.1:{port}/x"))
    assert time.monotonic() - began < 60
    assert "secret" not in caught.value.problem
    assert "MLFLOW_TRACKING_URI" in caught.value.hint


def test_a_server_that_hangs(tmp_path, monkeypatch):
    """A port that takes the connection and never answers is told after the time of the probe."""
    monkeypatch.setattr(store, "PROBE_S", 0.2)
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        with pytest.raises(UserError, match="does not answer: timed out"):
            store.connect_store(RunStore(tmp_path, f"http://127.0.0.1:{mute.getsockname()[1]}"))


def test_another_server(tmp_path):
    """A web server that is no MLflow is one line with the address."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Quiet) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        uri = f"http://127.0.0.1:{other.server_port}"
        with pytest.raises(UserError, match=f"tracking store {uri}: ") as caught:
            store.connect_store(RunStore(tmp_path, uri))
        other.shutdown()
    assert "\n" not in caught.value.problem


class _Quiet(http.server.BaseHTTPRequestHandler):
    """Knows no page, and does not say so on stderr."""

    def do_GET(self):
        """404 for everything."""
        self.send_error(404)

    def log_message(self, *_):
        """Nothing."""


def test_a_file_that_is_no_database(tmp_path):
    """Some other file at the address is named, and left as it is."""
    path = tmp_path / "x.db"
    path.write_text("no database, " * 100)
    with pytest.raises(UserError, match=r"x\.db: file is not a database"):
        store.connect_store(RunStore(tmp_path, f"sqlite:///{path}"))
    assert path.read_text() == "no database, " * 100


def test_a_folder_that_cannot_be_made(tmp_path):
    """A file where the folder of runs should be is one line."""
    (tmp_path / "runs").write_text("")
    with pytest.raises(UserError, match="runs"):
        store.connect_store(RunStore(tmp_path / "runs" / "x"))


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("(sqlite3.OperationalError) database or disk is full\n[SQL: ...]", "make room"),
        ("out-of-date schema: run 'mlflow db upgrade <uri>'", "mlflow db upgrade http://h"),
        ("", "--tracking-uri"),
    ],
)
def test_refusals_are_a_line_and_a_hint(text, hint):
    """Whatever a store says becomes its first line, without the password, and what to do about it."""
    found = make_store_error("http://me:secret@h", RuntimeError(text))
    assert "\n" not in found.problem
    assert "secret" not in found.problem + found.hint
    assert hint in found.hint


def test_an_error_of_the_database_is_printed_once(tmp_path, capfd):
    """MLflow would log the traceback of an error that it raises, as for a full disk, before the line of the command."""
    run_store = RunStore(tmp_path)
    client = store.connect_store(run_store)
    number = client.create_experiment("plain")
    with sqlite3.connect(tmp_path / "mlflow.db") as connection:
        connection.execute("DROP TABLE tags")
    connection.close()
    capfd.readouterr()
    errors = translated_store_errors(run_store.resolve_address())
    with pytest.raises(UserError, match="no such table: tags"), errors:
        client.create_run(number)
    assert capfd.readouterr().err == ""


def test_the_database_is_shared_without_waiting(tracker, runs):
    """The store is in WAL mode: a reader does not hold up the writer."""
    with sqlite3.connect(runs / "mlflow.db") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_deleted_experiment(tracker, client, runs):
    """The name of a deleted experiment is an error that says how to restore it."""
    number = client.create_experiment("gone")
    client.delete_experiment(number)
    with pytest.raises(UserError, match=r"'gone'.*was deleted") as caught:
        store.get_or_create_experiment(client, RunStore(runs, tracker.uri), "gone")
    assert f"restore -x {number}" in caught.value.hint


def test_the_last_run_takes_its_experiment_along(tracker, client, runs):
    """The experiment of deleted runs is gone when none is left; a new run of its name is alone in a new one."""
    first = store.get_or_create_experiment(client, RunStore(runs), "emptied")
    for digest in ("aa", "bb"):
        client.create_run(first, tags={"digest": digest})
    assert delete_runs("aa", run_store=RunStore(runs)) == 1
    assert client.get_experiment_by_name("emptied").lifecycle_stage == "active"
    assert delete_runs("bb", run_store=RunStore(runs)) == 1
    assert client.get_experiment_by_name("emptied") is None
    second = store.get_or_create_experiment(client, RunStore(runs), "emptied")
    assert second != first
    assert list(client.search_runs([second])) == []


def test_experiment_of_a_server(tracker, client, runs):
    """An experiment whose files only a server can take is refused at the start, not when the files come."""
    client.create_experiment("served", artifact_location="mlflow-artifacts:/1")
    with pytest.raises(UserError, match="made through a server"):
        store.get_or_create_experiment(client, RunStore(runs, tracker.uri), "served")


OPEN = """
import sys
from pathlib import Path
from attncli.track import RunStore, delete_runs, store
run_store = RunStore(Path(sys.argv[1]))
client = store.connect_store(run_store)
with store.store_lock(run_store):
    print(store.get_or_create_experiment(client, run_store, "one"))
"""


@pytest.mark.slow
def test_processes_that_start_together(tmp_path):
    """Six processes on no store yet: all get the same experiment, and none says a word on stderr."""
    started = [
        subprocess.Popen([sys.executable, "-c", OPEN, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(6)
    ]
    ended = [(*process.communicate(timeout=300), process.returncode) for process in started]
    assert {code for *_, code in ended} == {0}
    assert {err for _, err, _ in ended} == {b""}
    assert len({out for out, *_ in ended}) == 1


def test_variables_of_mlflow_that_a_recipe_replaces_are_named(monkeypatch):
    """The experiment and the run come from the recipe: other names in the environment are not dropped in silence."""
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_ID", raising=False)
    named = [line.split(" ")[0] for line in store.describe_ignored_variables(None)]
    assert named == ["MLFLOW_EXPERIMENT_NAME=mine", "MLFLOW_RUN_ID"]
    assert len(store.describe_ignored_variables("mine")) == 1


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://me:secret@h:5000/a", "http://h:5000/a"),
        ("http://me:se@cret@h", "http://h"),
        ("postgresql+psycopg://me:se/cr:et@h/db", "postgresql+psycopg://h/db"),
        ("http://secret@h", "http://h"),
        ("http://h:5000/user/me@x.org/mlflow", "http://h:5000/user/me@x.org/mlflow"),
        ("sqlite:///C:/Users/me@x.org/mlflow.db", "sqlite:///C:/Users/me@x.org/mlflow.db"),
    ],
)
def test_addresses_are_shown_without_passwords(address, shown):
    """Whatever letters a password has; a path with an @ stays."""
    assert redact_address(address) == shown


@pytest.mark.parametrize("address", ["databricks", "databricks://profile"])
def test_databricks(address, tmp_path):
    """Its default profile has no scheme; the server decides where files go."""
    run_store = RunStore(tmp_path, address)
    assert run_store.resolve_address() == address
    assert store.choose_artifact_location(run_store) is None
    assert not run_store.is_beside_runs()
