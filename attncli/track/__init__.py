"""Recording runs in MLflow, and reading them back: the only part that knows MLflow, and it loads it when it must.

    tracker = Tracker.open(uri, runs)                       # a store that is away is a UserError, in seconds
    with tracker.start(recipe, facts, machine, folder=runs / digest) as live:
        live.log(record)                                    # never waits, never raises
        warning = live.end("FINISHED")

`sync` brings runs/<digest>/ into a store later, `rows` gives a store's runs as plain dicts, `attach` puts a
picture of many runs beside them.
"""

from attncli.track.attach import attach_to_experiment
from attncli.track.describe import choose_experiment_name
from attncli.track.live import ActiveRun
from attncli.track.origin import DatasetInfo, read_finished_result
from attncli.track.search import list_run_rows
from attncli.track.store import resolve_address, load_mlflow, is_file_store, check_reachable
from attncli.track.sweep import begin_parent_runs, end_parent_runs
from attncli.track.sync import SyncOutcome, sync_runs
from attncli.track.tracker import Tracker

__all__ = [
    "DatasetInfo",
    "ActiveRun",
    "SyncOutcome",
    "Tracker",
    "resolve_address",
    "attach_to_experiment",
    "begin_parent_runs",
    "end_parent_runs",
    "choose_experiment_name",
    "read_finished_result",
    "load_mlflow",
    "is_file_store",
    "check_reachable",
    "list_run_rows",
    "sync_runs",
]
