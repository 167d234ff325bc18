"""The MLflow dashboard on a store: started on this machine's loopback address, stopped as a whole."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO
from urllib.parse import quote

from attncli.errors import RunFailedError, UserError
from attncli.track import present, store

HOST = "127.0.0.1"
START_S = 90.0  # a server starts in about 8 s on a quiet machine


@contextmanager
def serve(uri: str | None, runs: Path, port: int) -> Iterator[str]:
    """Run the dashboard on the store and give its address, once it answers; port 0 takes any free one.

    A store that is a server already is its own dashboard: its address comes back and nothing is started.
    Raises UserError for a port in use or a store that does not answer, RunFailedError if the server ends early.
    """
    address = store.address(uri, runs)
    if address.startswith("http"):
        store.reach(uri, runs)
        yield address.rstrip("/")
        return
    store.connect(address, runs)  # creates the database, or tells what is wrong with it
    port = _free(port)
    url = f"http://{HOST}:{port}"
    words = ["mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1", "--backend-store-uri", address]
    with tempfile.TemporaryFile() as told:
        server = subprocess.Popen(
            [sys.executable, "-m", *words, "--default-artifact-root", store.artifacts(address, runs) or ""],
            env=os.environ | store.SETTINGS | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=subprocess.DEVNULL,
            stderr=told,
            start_new_session=True,
        )
        try:
            _await(server, url, told)
            yield url
        finally:
            _stop(server)


def views(address: str, uri: str | None, runs: Path) -> list[tuple[str, str]]:
    """(what it shows, address) of the views that a reviewer of runs wants first.

    For each experiment its runs with the columns that matter, the most accurate first, and the same as charts.
    """
    client = store.connect(store.address(uri, runs), runs)
    found = []
    for e in client.search_experiments(max_results=1000):
        if e.name == "Default":
            continue
        link = f"{address}/#/experiments/{quote(e.experiment_id)}/runs?workflowType=machine_learning"
        shared = present.SHARED + present.TABLE in e.tags
        found.append((e.name, f"{link}&viewStateShareKey={present.TABLE}" if shared else link))
        if shared:
            found.append(("  as charts", f"{link}&compareRunsMode=CHART&viewStateShareKey={present.CHARTS}"))
    return found


def wait() -> None:
    """Sleep until Ctrl-C or SIGTERM."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    with suppress(KeyboardInterrupt):
        while True:
            time.sleep(3600)


def _free(port: int) -> int:
    """The port, or a free one for 0. Raises UserError where it is in use."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise UserError(f"port {port}: {error.strerror}", "choose another: --port 0 takes any free one") from error
        return int(probe.getsockname()[1])


def _await(server: "subprocess.Popen[bytes]", url: str, told: IO[bytes]) -> None:
    """Return when the server answers. Raises RunFailedError when it ends first or takes too long."""
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        if server.poll() is not None:
            told.seek(0)
            lines = told.read().decode(errors="replace").strip().splitlines() or ["without a word"]
            raise RunFailedError(f"the MLflow server ended: {lines[-1]}", "`attncli doctor` looks at the store")
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RunFailedError(
        f"the MLflow server did not answer at {url} within {START_S:.0f} s", "`attncli doctor` looks at the store"
    )


def _stop(server: "subprocess.Popen[bytes]") -> None:
    """End the server and its workers."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(server.pid, number)
        with suppress(subprocess.TimeoutExpired):
            server.wait(10)
            break
