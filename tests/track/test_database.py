"""Facts of the store's SQLite file: created in one step, repaired if damaged, found again in a moved folder."""

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from attncli.errors import UserError
from attncli.track import RunStore, database, repair_store, store


@pytest.fixture
def copy(tracker, runs, tmp_path):
    """A folder of runs with a copy of a complete store."""
    folder = tmp_path / "runs"
    folder.mkdir()
    with closing(sqlite3.connect(runs / "mlflow.db")) as source, closing(sqlite3.connect(folder / "mlflow.db")) as to:
        source.backup(to)
    return folder


@pytest.mark.parametrize("name", ["a b", "r%41", "r?q", "r#h", "ä;'"])
def test_the_address_of_any_folder_leads_to_its_file(name, tmp_path):
    """Whatever signs the folder's name has, the address is read back as the file in it."""
    address = RunStore(tmp_path / name).resolve_address()
    assert database.find_database_file(address) == tmp_path / name / "mlflow.db"
    assert RunStore(tmp_path, address).resolve_address() == address


@pytest.mark.parametrize("name", ["r%41", "r?q"])
def test_the_database_lies_in_the_folder(name, copy, tmp_path):
    """MLflow opens the file in a folder whose name has % or ?, and makes no other file or folder."""
    folder = tmp_path / name
    copy.rename(folder)
    client = store.connect_store(RunStore(folder))
    client.create_experiment("here")
    with closing(sqlite3.connect(folder / "mlflow.db")) as connection:
        assert ("here",) in connection.execute("SELECT name FROM experiments").fetchall()
    assert os.listdir(tmp_path) == [name]


def test_the_query_of_an_address_stays(tmp_path, monkeypatch):
    """Settings of the driver behind a user's ? are kept, and are no part of the file's name."""
    monkeypatch.chdir(tmp_path)
    address = RunStore(tmp_path, "sqlite:///a%20b.db?timeout=5").resolve_address()
    assert address == f"sqlite:///{tmp_path}/a b.db?timeout=5"
    assert database.find_database_file(address) == tmp_path / "a b.db"


@pytest.mark.parametrize("step", ["written", "renamed"])
def test_a_creation_that_is_interrupted(step, tmp_path, monkeypatch):
    """Ctrl-C after the new file is written, or after it has its name: the next command has a store."""
    target, name = (os, "fsync") if step == "written" else (database, "_follow_moved_folder")

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(target, name, interrupt)
        with pytest.raises(KeyboardInterrupt):
            store.connect_store(RunStore(tmp_path))
    assert (tmp_path / "mlflow.db").exists() == (step == "renamed")
    assert [e.name for e in store.connect_store(RunStore(tmp_path)).search_experiments()] == ["Default"]
    assert not list(tmp_path.glob(".*.new"))


@pytest.mark.slow
def test_two_hundred_kills(tmp_path):
    """SIGKILL and SIGINT at 200 moments of a creation leave no store that the next process cannot use."""
    line = [sys.executable, "-m", "tests.track.kill_creation", "200", str(tmp_path)]
    printed = subprocess.run(line, capture_output=True, text=True, check=True).stdout
    assert "complete" in printed
    assert "unusable" not in printed


DAMAGES = {
    "temporary table": "CREATE TABLE _alembic_tmp_metrics (x)",
    "no experiment": "PRAGMA foreign_keys = off; DELETE FROM experiments",
    "old version": "UPDATE alembic_version SET version_num = '451aebb31d03'",
}


def damage_store(folder: Path, damage: str) -> None:
    """Make the state that a killed creation or upgrade leaves."""
    with closing(sqlite3.connect(folder / "mlflow.db")) as connection:
        connection.executescript(DAMAGES[damage])
        if damage != "old version":
            connection.executescript(DAMAGES["old version"])


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_store_is_named_and_repaired(damage, copy):
    """The error names the repair; it keeps the old file and makes a store that opens. Twice repairs nothing more."""
    damage_store(copy, damage)
    read = copy.parent / "read"
    shutil.copytree(copy, read)
    with pytest.raises(UserError) as caught:
        store.connect_store(RunStore(read))
    assert f"attncli doctor --repair --runs {read}" in caught.value.hint
    repair = repair_store(RunStore(copy))
    assert repair is not None
    assert repair.kept_file == copy / "mlflow.db.broken-1"
    assert repair.kept_file.stat().st_size > 0
    assert store.connect_store(RunStore(copy)).search_experiments()
    assert repair_store(RunStore(copy)) is None


def test_another_file_at_the_address_is_left_alone(tmp_path):
    """A file that is no store and does not have the store's name gets no advice to replace it."""
    (tmp_path / "letter.db").write_text("no database, " * 100)
    with pytest.raises(UserError) as caught:
        store.connect_store(RunStore(tmp_path, f"sqlite:///{tmp_path}/letter.db"))
    assert "--repair" not in caught.value.hint


def test_a_server_is_not_repaired_from_here(tmp_path):
    """Only a file can be replaced."""
    with pytest.raises(UserError, match="only an SQLite file"):
        repair_store(RunStore(tmp_path, "http://127.0.0.1:9"))


@pytest.mark.parametrize("action", ["move", "copy"])
def test_a_moved_folder_finds_its_files(action, copy, tmp_path):
    """After a move or a copy the files are read from, and written to, the folder where the database now is."""
    run_store = RunStore(copy)
    client = store.connect_store(run_store)
    run_id = client.create_run(store.get_or_create_experiment(client, run_store, "one")).info.run_id
    elsewhere = client.create_experiment("elsewhere", artifact_location=(tmp_path / "own" / "mlartifacts").as_uri())
    (tmp_path / "own").mkdir()
    client.log_text(run_id, "before", "a.txt")
    new = tmp_path / "new place"
    shutil.copytree(copy, new)
    if action == "move":
        shutil.rmtree(copy)
    client = store.connect_store(RunStore(new))
    assert client.get_run(run_id).info.artifact_uri == (new / "mlartifacts" / run_id / "artifacts").as_uri()
    experiment = client.get_experiment_by_name("one")
    assert experiment.artifact_location == (new / "mlartifacts").as_uri()
    client.log_text(client.create_run(experiment.experiment_id).info.run_id, "after", "b.txt")
    assert sorted(path.name for path in new.rglob("*.txt")) == ["a.txt", "b.txt"]
    assert not list(copy.rglob("b.txt"))
    assert client.get_experiment(elsewhere).artifact_location == (tmp_path / "own" / "mlartifacts").as_uri()


def test_a_copy_writes_to_its_own_files(copy, tmp_path):
    """Also the experiments that have no files yet, and those whose files were not copied; a link is no copy."""
    run_store = RunStore(copy)
    client = store.connect_store(run_store)
    ids = {name: store.get_or_create_experiment(client, run_store, name) for name in ("empty", "left behind")}
    run_id = client.create_run(ids["left behind"]).info.run_id
    client.log_text(run_id, "before", "a.txt")
    link, new = tmp_path / "link", tmp_path / "new"
    link.symlink_to(copy)
    linked = store.connect_store(RunStore(link))
    assert linked.get_run(run_id).info.artifact_uri.startswith((copy / "mlartifacts").as_uri())
    shutil.copytree(copy, new, ignore=shutil.ignore_patterns("mlartifacts"))
    copied = store.connect_store(RunStore(new))
    copied.log_text(run_id, "after", "b.txt")
    copied.log_text(copied.create_run(ids["empty"]).info.run_id, "after", "c.txt")
    assert sorted(path.name for path in new.rglob("*.txt")) == ["b.txt", "c.txt"]
    assert [path.name for path in copy.rglob("*.txt")] == ["a.txt"]
