"""The MLflow dashboard of a store: started on this machine's loopback address, stopped with all its processes."""

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import quote

from attncli import records
from attncli.attention import NONE
from attncli.errors import RunFailedError, UserError
from attncli.palette import COLOURS, INK, PALE, PLAIN
from attncli.system.process_groups import OWN_GROUP, stop_process_tree
from attncli.system.signals import sigterm_as_interrupt
from attncli.track import database, experiment_views, provenance, search, store
from attncli.track.metric_writer import send_points
from attncli.track.metrics import collect_run_metrics
from attncli.track.store import RunStore
from attncli.track.tags import build_figure_tags

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

HOST = "127.0.0.1"
START_S = 90.0  # a server starts in about 8 s on a quiet machine
STOP_S = 10.0
COLOUR_TAG = "mlflow.runColor"  # of a run's points, lines and bars
PERCENT_METRICS = ("test/top1_pct", "val/top1_pct")  # what the charts show


@contextmanager
def serve_dashboard(run_store: RunStore, port: int) -> Iterator[str]:
    """Run the dashboard on the store and yield its address once it answers; port 0 takes any free port.

    A store that is a server already is its own dashboard: its address is yielded and nothing is started.
    Raises UserError for a port in use or a store that does not answer, RunFailedError if the server ends early.
    """
    address = run_store.resolve_address()
    if address.startswith("http"):
        store.check_reachable(run_store)
        yield address.rstrip("/")
        return
    store.connect_store(run_store)  # creates the database, or raises what is wrong with it
    port = _find_free_port(port)
    url = f"http://{HOST}:{port}"
    arguments = [
        "mlflow",
        "server",
        "--host",
        HOST,
        "--port",
        str(port),
        "--workers",
        "1",
        "--backend-store-uri",
        database.format_mlflow_address(address),
    ]
    with tempfile.TemporaryFile() as error_output:
        server = subprocess.Popen(
            [
                sys.executable,
                "-m",
                *arguments,
                "--default-artifact-root",
                store.choose_artifact_location(run_store) or "",
            ],
            env=os.environ | store.SETTINGS | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=subprocess.DEVNULL,
            stderr=error_output,
            **OWN_GROUP,
        )
        try:
            _wait_until_ready(server, url, error_output)
            yield url
        finally:
            stop_process_tree(server, STOP_S)


def list_view_links(address: str, run_store: RunStore) -> list[tuple[str, str]]:
    """Return (title, address) of the views that a reviewer of runs wants first.

    For each experiment these are its runs with the columns that matter, the best on validation images first,
    and charts.
    """
    client = store.connect_store(run_store)
    view_links = []
    for experiment in client.search_experiments(max_results=1000):
        if experiment.name == "Default":
            continue
        link = f"{address}/#/experiments/{quote(experiment.experiment_id)}/runs?workflowType=machine_learning"
        has_views = experiment_views.VIEW_TAG_PREFIX + experiment_views.TABLE_VIEW in experiment.tags
        view_links.append(
            (experiment.name, f"{link}&viewStateShareKey={experiment_views.TABLE_VIEW}" if has_views else link)
        )
        if has_views:
            view_links.append(
                ("  as charts", f"{link}&compareRunsMode=CHART&viewStateShareKey={experiment_views.CHARTS_VIEW}")
            )
    return view_links


def prepare_views(run_store: RunStore) -> None:
    """Give experiments and runs what the views show and earlier versions did not write.

    These are the views themselves, the figures of finished runs, and one colour for all runs of a mechanism. What is
    there already stays, but for charts of speeds, which come and go with the speeds as long as the view is ours.
    """
    client = store.connect_store(run_store)
    plain_views, speed_views = (experiment_views.build_view_tags(has_speeds=has_speeds) for has_speeds in (False, True))
    for experiment in client.search_experiments(max_results=1000):
        if not any(key.startswith(experiment_views.VIEW_TAG_PREFIX) for key in experiment.tags):
            continue  # not an experiment of runs
        runs = list(search.iterate_runs(client, [experiment.experiment_id], {}))
        has_speeds = any(experiment_views.SPEED in run.data.metrics for run in runs)
        for key, view in (speed_views if has_speeds else plain_views).items():
            if experiment.tags.get(key, plain_views[key]) in (plain_views[key], speed_views[key]):
                client.set_experiment_tag(experiment.experiment_id, key, view)
        colours = choose_run_colours([run.data.tags.get("attn", NONE) for run in reversed(runs)])
        for run in runs:
            _complete_run(client, run, run_store.runs / run.data.tags["digest"])
            if run.data.tags.get(COLOUR_TAG, INK) == INK:  # the plain networks of earlier versions have it
                client.set_tag(run.info.run_id, COLOUR_TAG, colours[run.data.tags.get("attn", NONE)])


def _complete_run(client: "MlflowClient", run: "Run", folder: Path) -> None:
    """Write the figures of a finished run that the store lacks: as tags, and accuracies in percent."""
    figure_tags = build_figure_tags(records.read_result(folder))
    for key in figure_tags.keys() - run.data.tags.keys():
        client.set_tag(run.info.run_id, key, figure_tags[key])
    run_provenance = provenance.read_provenance(folder)
    if run_provenance is not None and PERCENT_METRICS[0] not in run.data.metrics:
        points = collect_run_metrics(records.read(folder), run_provenance.started_ms)
        send_points(client, run.info.run_id, [point for point in points if point.key in PERCENT_METRICS], {})


def choose_run_colours(mechanisms: Sequence[str]) -> dict[str, str]:
    """Return a colour for each mechanism, by order of appearance; none is grey, those beyond six are a lighter grey.

    All can be seen on white and in MLflow's dark mode, in which black is lost.
    """
    others = [name for name in dict.fromkeys(mechanisms) if name != NONE]
    return {NONE: PLAIN} | {name: COLOURS[i] if i < len(COLOURS) else PALE for i, name in enumerate(others)}


def wait_for_interrupt() -> None:
    """Sleep until Ctrl-C or SIGTERM."""
    with suppress(KeyboardInterrupt), sigterm_as_interrupt():
        while True:
            time.sleep(3600)


def _find_free_port(port: int) -> int:
    """Return the port, or a free one for 0. Raises UserError if it is in use."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise UserError(
                f"port {port}: {error.strerror}", "choose another port: --port 0 takes any free one"
            ) from error
        return int(probe.getsockname()[1])


def _wait_until_ready(server: "subprocess.Popen[bytes]", url: str, error_output: IO[bytes]) -> None:
    """Return when the server answers. Raises RunFailedError when it ends first or takes too long."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            error_output.seek(0)
            lines = error_output.read().decode(errors="replace").strip().splitlines() or ["no error message"]
            raise RunFailedError(f"the MLflow server ended: {lines[-1]}", "`attncli doctor` looks at the store")
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RunFailedError(
        f"the MLflow server did not answer at {url} within {START_S:.0f} s", "`attncli doctor` looks at the store"
    )
