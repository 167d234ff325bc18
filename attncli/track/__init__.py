"""Recording runs in MLflow, and reading them back: the only part that knows MLflow, and it loads it when it must.

    tracker = Tracker.open(uri, runs)                       # a store that is away is a UserError, in seconds
    with tracker.start(recipe, facts, machine, folder=runs / digest) as live:
        live.log(record)                                    # never waits, never raises
        warning = live.end("FINISHED")

`sync` brings runs/<digest>/ into a store later, `rows` gives a store's runs as plain dicts, `attach` puts a
picture of many runs beside them.
"""

from attncli.track.attach import attach
from attncli.track.describe import experiment_name
from attncli.track.live import Live
from attncli.track.origin import Facts, finished
from attncli.track.search import rows
from attncli.track.store import address, load_mlflow, on_disk, reach
from attncli.track.sweep import begin_sweep, end_sweep
from attncli.track.sync import Synced, sync
from attncli.track.tracker import Tracker

__all__ = [
    "Facts",
    "Live",
    "Synced",
    "Tracker",
    "address",
    "attach",
    "begin_sweep",
    "end_sweep",
    "experiment_name",
    "finished",
    "load_mlflow",
    "on_disk",
    "reach",
    "rows",
    "sync",
]
