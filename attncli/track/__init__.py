"""Recording runs in MLflow, and reading them back: the only part that knows MLflow, and it loads it when it must.

    tracker = Tracker.open(uri, runs)                       # a store that is away is a UserError, in seconds
    with tracker.start(recipe, facts, machine, folder=runs / digest) as live:
        live.log(record)                                    # never waits, never raises
        warning = live.end("FINISHED")

`sync` brings runs/<digest>/ into a store later, `rows` gives a store's runs as plain dicts, `attach` puts a
picture of many runs beside them.
"""

from attncli.track.active_run import ActiveRun
from attncli.track.artifacts import attach_to_experiment
from attncli.track.parent_runs import begin_parent_runs, end_parent_runs
from attncli.track.provenance import DatasetInfo, read_finished_result
from attncli.track.search import list_run_rows
from attncli.track.store import check_reachable, is_file_store, load_mlflow, resolve_address
from attncli.track.sync import SyncOutcome, sync_runs
from attncli.track.tags import choose_experiment_name
from attncli.track.tracker import Tracker

__all__ = [
    "ActiveRun",
    "DatasetInfo",
    "SyncOutcome",
    "Tracker",
    "attach_to_experiment",
    "begin_parent_runs",
    "check_reachable",
    "choose_experiment_name",
    "end_parent_runs",
    "is_file_store",
    "list_run_rows",
    "load_mlflow",
    "read_finished_result",
    "resolve_address",
    "sync_runs",
]
