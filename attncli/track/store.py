"""The MLflow store: its address, a fast check that it answers, and access by one process at a time."""

import importlib
import logging
import os
import socket
import ssl
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

from attncli.errors import UserError
from attncli.track import database
from attncli.track.database import find_database_file
from attncli.track.store_errors import STORE_HINT, make_store_error, redact_address

if TYPE_CHECKING:
    from mlflow import MlflowClient

SETTINGS = {  # MLflow's settings for a command-line tool; values that the user has set stay
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_TRUNCATE_LONG_VALUES": "false",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",  # seconds; by default 120
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # by default 7, which is four minutes
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}
PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
DATABRICKS = "databricks"  # the address of its default profile, and the scheme of the others
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}  # the dashboard's pages for training runs
PROBE_S = 5.0
LOCK_S = 120.0


@dataclass(frozen=True)
class RunStore:
    """Where runs live: a folder with one subfolder per run, and an MLflow store.

    `tracking_uri` is the store's address as the user gave it; None means MLFLOW_TRACKING_URI, else RUNS/mlflow.db.
    """

    runs: Path
    tracking_uri: str | None = None

    def resolve_address(self) -> str:
        """Return the address of the MLflow store; that of an SQLite file is absolute.

        Raises:
            UserError: MLflow no longer takes such a store, or runs cannot use it.
        """
        default = database.format_sqlite_address(self.runs / database.DEFAULT_NAME)
        address = self.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or default
        try:
            scheme = read_scheme(address)
        except ValueError as error:
            raise UserError(f"tracking store {redact_address(address)}: {error}", STORE_HINT) from error
        if scheme == "sqlite":
            return database.normalize_sqlite_address(address)
        if scheme not in (*PORTS, DATABRICKS):
            raise UserError(
                f"tracking store {redact_address(address)}: attncli does not take such an address",
                "for example sqlite:///runs/mlflow.db or http://127.0.0.1:5000 (MLflow 3.13 dropped folders of files)",
            )
        return address

    def is_beside_runs(self) -> bool:
        """Return whether the store is a database in the folder of runs, which other folders do not share."""
        file = find_database_file(self.resolve_address())
        return file is not None and file.parent.resolve() == self.runs.resolve()

    def has_store(self) -> bool:
        """Return whether there is an MLflow store yet; a server is taken to be there."""
        file = find_database_file(self.resolve_address())
        return file is None or file.exists()


def read_scheme(address: str) -> str:
    """Return the kind of store that an address names: sqlite, http, postgresql, databricks; without the driver.

    Raises ValueError for an address that cannot be read.
    """
    return DATABRICKS if address == DATABRICKS else urlsplit(address).scheme.partition("+")[0]


def is_file_store(run_store: RunStore) -> bool:
    """Return whether the store is a file, which machines that do not share its disk cannot write.

    Raises UserError as `RunStore.resolve_address` does.
    """
    return find_database_file(run_store.resolve_address()) is not None


def choose_artifact_location(run_store: RunStore) -> str | None:
    """Return where a new experiment keeps its files: beside the database, or None if a server decides."""
    address = run_store.resolve_address()
    if read_scheme(address) in ("http", "https", DATABRICKS):
        return None
    file = find_database_file(address)
    return ((file.parent if file else run_store.runs.absolute()) / database.ARTIFACT_FOLDER).as_uri()


@contextmanager
def store_lock(run_store: RunStore) -> Iterator[None]:
    """Lock the store, for all processes of this machine, while something in it is searched for and created."""
    file = find_database_file(run_store.resolve_address())
    path = file.with_name(f"{file.name}.lock") if file else run_store.runs.absolute() / ".mlflow.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path, timeout=LOCK_S):
            yield
    except Timeout as error:
        raise UserError(
            f"{path}: held by another process for {LOCK_S:.0f} s", "end that process, then try again"
        ) from error
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}", "give a folder that can be written: --runs") from error


def load_mlflow() -> None:
    """Import what MLflow needs, which takes seconds; a run does it in a thread."""
    configure_mlflow()
    importlib.import_module("mlflow")


def check_reachable(run_store: RunStore) -> None:
    """Check in seconds, before anything slow begins, that the store answers. Raises UserError if it does not."""
    address = run_store.resolve_address()
    if find_database_file(address) is None:
        _probe_server(address)


def describe_ignored_variables(experiment: str | None) -> list[str]:
    """Return a line per variable of MLflow that names an experiment or a run, which the recipe does here.

    Args:
        experiment: the recipe's own name of the experiment, if it has one.
    """
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME")
    lines = []
    if name and name != experiment:
        lines.append(f"MLFLOW_EXPERIMENT_NAME={name} is not used: --set experiment=NAME names the experiment")
    unused = [variable for variable in ("MLFLOW_EXPERIMENT_ID", "MLFLOW_RUN_ID") if os.environ.get(variable)]
    return lines + [
        f"{variable} is not used: a run has the experiment and the MLflow run of its recipe" for variable in unused
    ]


def connect_store(run_store: RunStore) -> "MlflowClient":
    """Return a client of the store, which is created if it is a database that is not there yet.

    Raises UserError, within seconds, for a store that does not answer or can't be written.
    """
    configure_mlflow()
    address = run_store.resolve_address()
    file = find_database_file(address)
    if file is None:
        _probe_server(address)
        return open_client(address)
    with store_lock(run_store):
        database.prepare_database(file)
        return open_client(address)


def configure_mlflow() -> None:
    """Switch off MLflow's telemetry, notices, warnings and long waits; settings that the user has made stay."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    warnings.filterwarnings("ignore", module=r"(mlflow|sqlalchemy|alembic)\.")
    for name in ("alembic", "urllib3.connectionpool"):
        logging.getLogger(name).setLevel(logging.ERROR)
    if os.environ["MLFLOW_LOGGING_LEVEL"] == SETTINGS["MLFLOW_LOGGING_LEVEL"]:
        # it prints the traceback of what it raises
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


def _probe_server(uri: str) -> None:
    """Check that a server answers: this takes seconds, while MLflow's retries take minutes."""
    parts = urlsplit(uri)
    scheme, host = read_scheme(uri), parts.hostname
    if scheme not in PORTS or host is None:
        return
    try:
        if scheme in ("http", "https"):
            _request_health(f"{scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}/health")
        else:
            socket.create_connection((host, parts.port or PORTS[scheme]), timeout=PROBE_S).close()
    except (OSError, ValueError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        text = getattr(reason, "strerror", None) or str(reason) or type(error).__name__
        raise UserError(
            f"tracking store {redact_address(uri)} does not answer: {text}", f"start it, or {STORE_HINT}"
        ) from error


def _request_health(url: str) -> None:
    """Raise OSError if nothing answers; a refusal is an answer (it may want a password, or a certificate)."""
    try:
        urllib.request.urlopen(url, timeout=PROBE_S).close()
    except urllib.error.HTTPError as error:
        error.close()
    except urllib.error.URLError as error:
        if not isinstance(error.reason, ssl.SSLError):
            raise


def open_client(uri: str) -> "MlflowClient":
    """Return MLflow's client of an address, after a first call that shows whether the store works."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    _forget_artifact_folders()
    try:
        client = MlflowClient(database.format_mlflow_address(uri))
        client.search_experiments(max_results=1)  # the first call creates the tables of a server's database
    except MlflowException as error:
        raise make_store_error(uri, error) from error
    except ModuleNotFoundError as error:
        raise UserError(f"tracking store {redact_address(uri)}: {error}", f"pip install {error.name}") from error
    except Exception as error:  # anything that a database driver, a proxy or a server other than MLflow may raise
        raise make_store_error(uri, error) from error
    return client


def _forget_artifact_folders() -> None:
    """Empty MLflow's list of the folders of runs: it knows them by the run's id, which a copied store has too."""
    from mlflow.tracking._tracking_service import utils

    known_folders = getattr(utils, "_artifact_repos_cache", None)  # private to MLflow (3.15)
    if known_folders is not None:
        known_folders.clear()


def delete_empty_experiment(client: "MlflowClient", experiment_id: str) -> None:
    """Delete an experiment that has no run, under another name: a later run of its name opens a new one.

    MLflow would restore the deleted runs together with a deleted experiment. The one called Default stays.
    """
    name = client.get_experiment(experiment_id).name
    if name == "Default" or client.search_runs([experiment_id], max_results=1):
        return
    client.rename_experiment(experiment_id, f"{name} (deleted, {experiment_id})")
    client.delete_experiment(experiment_id)


def get_or_create_experiment(
    client: "MlflowClient", run_store: RunStore, name: str, tags: Mapping[str, str] | None = None
) -> str:
    """Return the id of the experiment, which is created if it does not exist; call it under `store_lock`.

    It gets those of `tags` that it lacks: what a user wrote there stays.
    Raises UserError if the experiment was deleted, or if only a server can write its files.
    """
    from mlflow.exceptions import MlflowException

    stored_experiment = client.get_experiment_by_name(name)
    if stored_experiment is None:
        try:
            return str(
                client.create_experiment(
                    name, artifact_location=choose_artifact_location(run_store), tags=EXPERIMENT_TAGS | dict(tags or {})
                )
            )
        except MlflowException:  # another machine created it first
            stored_experiment = client.get_experiment_by_name(name)
            if stored_experiment is None:
                raise
    address = redact_address(run_store.resolve_address())
    if stored_experiment.lifecycle_stage == "deleted":
        raise UserError(
            f"experiment '{name}' of {address} was deleted",
            f"mlflow experiments restore -x {stored_experiment.experiment_id}, or name another: --set experiment=NAME",
        )
    if (
        stored_experiment.artifact_location.startswith("mlflow-artifacts:")
        and choose_artifact_location(run_store) is not None
    ):
        raise UserError(
            f"experiment '{name}' of {address} was made through a server, which keeps its files",
            "use that server (--tracking-uri http://...), or name another experiment: --set experiment=NAME",
        )
    for key, value in (tags or {}).items():
        if key not in stored_experiment.tags:
            client.set_experiment_tag(stored_experiment.experiment_id, key, value)
    return str(stored_experiment.experiment_id)
