"""The SQLite file of a store: its address, its creation in one step, damage, repair, and a folder that was moved."""

import os
import re
import shlex
import sqlite3
import uuid
from contextlib import closing
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote, unquote, urlsplit
from urllib.request import url2pathname

from attncli.errors import UserError

DEFAULT_NAME = "mlflow.db"
ARTIFACT_FOLDER = "mlartifacts"  # beside the database
COMPANIONS = ("-wal", "-shm", "-journal")  # SQLite's files beside a database
BUSY_S = 20.0  # time that SQLite waits for another process's transaction


def format_sqlite_address(file: Path, query: str = "") -> str:
    """Return the address of an SQLite file: its absolute path, with % and ? written as in any URI."""
    path = str(file.absolute()).replace("%", "%25").replace("?", "%3F")
    return f"sqlite:///{path}{'?' if query else ''}{query}"


def normalize_sqlite_address(address: str) -> str:
    """Return a user's address of an SQLite file as an absolute one.

    Raises UserError if it names no file: such a store would end with the process.
    """
    path, _, query = address.partition(":///")[2].partition("?")
    if not path or path == ":memory:":
        raise UserError(f"tracking store {address}: it would end with the process", "sqlite:///runs/mlflow.db")
    file = Path(unquote(path))
    try:
        file.exists()
        str(file).encode()
    except (OSError, ValueError) as error:
        raise UserError(f"tracking store {address[:300]}: {error}"[:400], "sqlite:///runs/mlflow.db") from error
    return format_sqlite_address(file, query)


def find_database_file(address: str) -> Path | None:
    """Return the file of an SQLite store, or None for any other store."""
    if not address.startswith("sqlite:"):
        return None
    return Path(unquote(address.partition(":///")[2].partition("?")[0]))


def format_mlflow_address(address: str) -> str:
    """Return an address in the form in which MLflow opens this store.

    SQLAlchemy from 2.1 decodes %3F in the path of a database, earlier versions do not. The name of the driver keeps
    MLflow from making a folder by the name that is not decoded.
    """
    file = find_database_file(address)
    if file is None or not {"%", "?"} & set(str(file)):
        return address
    from sqlalchemy.engine import make_url

    query = urlsplit(address).query
    if make_url("sqlite:///%41").database == "A":
        return address.replace("sqlite:", "sqlite+pysqlite:", 1)
    parameters = "&".join(part for part in (query, "uri=true") if part)
    return f"sqlite+pysqlite:///file:{quote(str(file))}?{parameters}"


def prepare_database(file: Path) -> None:
    """Create the database if it is missing, check that it can be written, and set it to WAL mode.

    In WAL mode readers and writers do not wait for each other. Call it under the lock of the store.

    Raises:
        UserError: The file cannot be written, or it is no database.
    """
    try:
        if not _has_tables(file):
            _create_database(file)
        with closing(sqlite3.connect(file, timeout=BUSY_S, isolation_level=None)) as connection:
            if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("BEGIN IMMEDIATE")
            _follow_moved_folder(connection, file)
            connection.execute("COMMIT")
    except (sqlite3.Error, OSError) as error:
        is_damaged = file.name == DEFAULT_NAME and file.exists() and find_damage(file)
        hint = suggest_repair(file) if is_damaged else "give an SQLite file that can be written, on a disk with room"
        raise UserError(f"tracking store {file}: {error}", hint) from error


def _has_tables(file: Path) -> bool:
    if not file.exists() or file.stat().st_size == 0:
        return False
    with closing(sqlite3.connect(file, timeout=BUSY_S)) as connection:
        return connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] > 0


def _create_database(file: Path) -> None:
    """Create the database in one step: it is there with all its tables and the first experiment, or not at all.

    MLflow makes the tables in more than fifty steps. They are made in memory, written to another file and renamed.
    """
    new_file = file.with_name(f".{file.name}.new")
    for leftover in (new_file, *(file.with_name(file.name + ending) for ending in COMPANIONS)):
        leftover.unlink(missing_ok=True)  # SQLite would apply the log of an earlier file to the new one
    new_file.write_bytes(_make_empty_database())
    with closing(sqlite3.connect(new_file)) as connection, connection:
        location = f"{(file.parent / ARTIFACT_FOLDER).as_uri()}/0"
        connection.execute("UPDATE experiments SET artifact_location = ? WHERE experiment_id = 0", (location,))
    with new_file.open("rb") as stream:
        os.fsync(stream.fileno())
    new_file.replace(file)


@cache
def _make_empty_database() -> bytes:
    """Return an SQLite file with MLflow's tables and its first experiment; MLflow takes a second to make them."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    memory = f"sqlite+pysqlite:///file:{uuid.uuid4().hex}?mode=memory&cache=shared&uri=true"
    with TemporaryDirectory() as folder:  # MLflow makes the folder of artifacts
        store = SqlAlchemyStore(memory, Path(folder).as_uri())
        try:
            with closing(store.engine.raw_connection()) as connection:
                connection.cursor().execute("VACUUM INTO ?", (str(Path(folder, DEFAULT_NAME)),))
        finally:
            store.engine.dispose()
        return Path(folder, DEFAULT_NAME).read_bytes()


def _follow_moved_folder(connection: sqlite3.Connection, file: Path) -> None:
    """Correct the addresses of the runs' files if the folder with the database `file` was moved or copied.

    A folder of files that lies beside no database belongs to the user's own setting, and its addresses stay.
    """
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not {"experiments", "runs"} <= tables:
        return
    here = (file.parent / ARTIFACT_FOLDER).as_uri()
    for experiment, location in connection.execute("SELECT experiment_id, artifact_location FROM experiments"):
        match = re.fullmatch(rf"(file://.*/{ARTIFACT_FOLDER})(/.*)?", location or "")
        if match is None or match[1] == here or not _was_moved(connection, experiment, match[1], file):
            continue
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            connection.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                f"WHERE experiment_id = ? AND substr({column}, 1, ?) = ?",
                (here, len(match[1]) + 1, experiment, len(match[1]), match[1]),
            )


def _was_moved(connection: sqlite3.Connection, experiment: int, former: str, file: Path) -> bool:
    """Return whether the files of an experiment belong beside the database `file`, and no longer at the URI `former`.

    If a database of this name lies beside the former folder, `file` is a copy of it and must not write there; or both
    are one file, seen through two paths. Else the folder was moved if its parent is gone, or if files of the runs are
    beside `file`.
    """
    former_folder = Path(url2pathname(urlsplit(former).path))
    former_database = former_folder.parent / file.name
    if former_database.exists():
        return not former_database.samefile(file)
    if not former_folder.parent.exists():
        return True
    uris = connection.execute("SELECT artifact_uri FROM runs WHERE experiment_id = ?", (experiment,))
    paths = [_relative_artifact_path(uri, former) for (uri,) in uris if uri and uri.startswith(former)]
    return any((file.parent / ARTIFACT_FOLDER / path).exists() for path in paths)


def _relative_artifact_path(uri: str, folder_uri: str) -> str:
    """Return where a file: URI points below the folder of another; on Windows a leading `\\` would leave the folder."""
    return url2pathname(uri[len(folder_uri) :].lstrip("/"))


def find_damage(file: Path) -> str:
    """Return what is wrong with the file of a store that MLflow cannot open, or an empty text if it seems whole.

    A store without any experiment was not completed: MLflow makes the first one when all tables are there.
    """
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=BUSY_S)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if any(name.startswith("_alembic_tmp_") for name in tables):
                return "its creation or its upgrade was interrupted"
            if "experiments" not in tables or not connection.execute("SELECT 1 FROM experiments").fetchone():
                return "its creation was interrupted"
            problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            return "" if problem == "ok" else str(problem)
    except sqlite3.OperationalError:  # locked, or a disk that does not answer
        return ""
    except sqlite3.DatabaseError as error:
        return str(error)


def suggest_repair(file: Path) -> str:
    """Return the hint for a damaged store."""
    options = ["--runs", str(file.parent)]
    if file.name != DEFAULT_NAME:
        options += ["--tracking-uri", format_sqlite_address(file)]
    command = shlex.join(["attncli", "doctor", "--repair", *options])
    return f"`{command}` keeps the file and makes a new store from the runs"


def set_aside(file: Path) -> Path:
    """Rename a database and SQLite's files beside it, and return its new name. Nothing is deleted."""
    number = next(n for n in range(1, 10_000) if not file.with_name(f"{file.name}.broken-{n}").exists())
    kept_file = file.with_name(f"{file.name}.broken-{number}")
    for ending in COMPANIONS:
        if (companion := file.with_name(file.name + ending)).exists():
            companion.replace(kept_file.with_name(kept_file.name + ending))
    file.replace(kept_file)
    return kept_file
