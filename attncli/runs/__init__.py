"""Finished runs in one form, from the folder of runs and from an MLflow store, and run folders found by name.

    finished_runs = read_finished_runs(RunStore(Path("runs")))
    folder = find_run_folder(Path("runs"), "eca-resnet18-s0")

Reading a folder takes about a millisecond per run. MLflow takes seconds to load, so it is asked only if the store may
hold finished runs that the folder lacks.
"""

from attncli.runs.failed import FailedRun, read_failed_runs
from attncli.runs.finished import (
    list_untracked_runs,
    read_finished_runs,
    read_folder_run,
    read_folder_runs,
)
from attncli.runs.finished_run import FinishedRun
from attncli.runs.folders import (
    RECIPE,
    RunFolder,
    find_run_folder,
    list_run_folders,
    list_store_options,
    locate_pretrained_run,
    resolve_pretrained_runs,
    restore_recipe,
)
from attncli.runs.overviews import RunOverview, describe_unfinished_runs, list_run_overviews
from attncli.runs.unreadable import find_unreadable_runs
from attncli.system.callable_module import make_module_callable
from attncli.track import RunStore

__all__ = [
    "RECIPE",
    "FailedRun",
    "FinishedRun",
    "RunFolder",
    "RunOverview",
    "RunStore",
    "describe_unfinished_runs",
    "find_run_folder",
    "find_unreadable_runs",
    "list_run_folders",
    "list_run_overviews",
    "list_store_options",
    "list_untracked_runs",
    "locate_pretrained_run",
    "read_failed_runs",
    "read_finished_runs",
    "read_folder_run",
    "read_folder_runs",
    "resolve_pretrained_runs",
    "restore_recipe",
]

make_module_callable(__name__, "attncli.api:list_runs")
