"""Record runs in MLflow and read them back. Only this package uses MLflow, and it loads it when needed.

    tracker = Tracker.open(RunStore(runs, uri))             # a store that does not answer is a UserError, in seconds
    with tracker.start_run(recipe, facts, machine, folder=runs / digest) as active_run:
        active_run.log_record(record)                       # never waits, never raises
        warning = active_run.end_run("FINISHED")

`sync_runs` brings runs/<digest>/ into a store later, `list_run_rows` returns a store's runs as plain dicts, and
`attach_to_experiment` puts a picture of many runs beside them.
"""

from attncli.track.active_run import ActiveRun, Tracker
from attncli.track.artifacts import attach_to_experiment, delete_runs
from attncli.track.image_identity import (
    cache_digests,
    describe_changed_images,
    find_finished_result,
    pin_changed_images,
)
from attncli.track.parent_runs import begin_parent_runs, end_parent_runs
from attncli.track.provenance import DatasetInfo, read_finished_result
from attncli.track.repair import StoreRepair, repair_store
from attncli.track.search import list_finished_digests, list_run_rows, list_untracked_digests
from attncli.track.store import RunStore, check_reachable, describe_ignored_variables, is_file_store, load_mlflow
from attncli.track.sync import SyncOutcome, sync_runs
from attncli.track.tags import choose_experiment_name

__all__ = [
    "ActiveRun",
    "DatasetInfo",
    "RunStore",
    "StoreRepair",
    "SyncOutcome",
    "Tracker",
    "attach_to_experiment",
    "begin_parent_runs",
    "cache_digests",
    "check_reachable",
    "choose_experiment_name",
    "delete_runs",
    "describe_changed_images",
    "describe_ignored_variables",
    "end_parent_runs",
    "find_finished_result",
    "is_file_store",
    "list_finished_digests",
    "list_run_rows",
    "list_untracked_digests",
    "load_mlflow",
    "pin_changed_images",
    "read_finished_result",
    "repair_store",
    "sync_runs",
]
