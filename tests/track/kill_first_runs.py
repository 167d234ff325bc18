"""Kill first runs at many moments, and count the stores with which the next commands cannot go on.

    python -m tests.track.kill_first_runs 200

Each is a whole `attncli run` with a new folder of runs: a small network on digits, one epoch. Of every three kills one
comes at any moment of the run, one while MLflow's tables are made (its migrations), and one when the store has just
appeared. SIGKILL and SIGINT take turns. Then the same command has to finish the run, and `compare` has to show it once.
torch and MLflow are imported once; each process is a fork.
"""

import functools
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from attncli.track import database, store
from tests.commands.line import line
from tests.track.kill_creation import fork, fork_and_wait, wait_for_file

KINDS = ("any moment", "migration", "new store")
MARK = "migrating"  # a file that the run makes when it begins to make the tables
RUN = (
    "run", "--backbone", "resnet20", "--epochs", "1", "--set", "data.per_class=8", "--set", "measure.speed=false",
    "--set", "train.batch_size=16", "-q",
)  # fmt: skip


def count_outcomes(kills: int, folder: Path, seed: int = 0) -> Counter[str]:
    """Kill `kills` first runs; return how often each kind of kill left which state, `unusable` among them."""
    store.load_mlflow()
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401 - imported once, not in each fork

    draws, outcomes = random.Random(seed), Counter[str]()
    started = time.monotonic()
    assert fork_and_wait(lambda: run_first(folder / "whole")) == 0
    longest = time.monotonic() - started
    for number in range(kills):
        runs, kind = folder / f"runs-{number}", KINDS[number % len(KINDS)]
        child = fork(lambda runs=runs: run_first(runs))
        kill_at(kind, child, runs, longest, draws, signal.SIGKILL if number % 2 else signal.SIGINT)
        outcomes[f"{kind}: {find_outcome(runs)}"] += 1
        print(f"{number + 1} of {kills}", dict(outcomes), file=sys.stderr, flush=True)
        shutil.rmtree(runs, ignore_errors=True)
    return outcomes


def kill_at(kind: str, child: int, runs: Path, longest: float, draws: random.Random, number: int) -> None:
    """Kill a process at a moment of a kind; a run that is over first is left alone."""
    if kind == "any moment":
        time.sleep(draws.uniform(0, longest))
    else:
        wait_for_file(runs / (MARK if kind == "migration" else "mlflow.db"), child)
        time.sleep(draws.uniform(0, 0.3))
    if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        os.kill(child, number)
    os.waitpid(child, 0)


def run_first(runs: Path) -> None:
    """Do the run, and make a file when MLflow's tables are begun."""
    create = database._create_database

    @functools.wraps(create)
    def create_with_mark(file: Path) -> None:
        (runs / MARK).touch()
        create(file)

    database._create_database = create_with_mark
    done = line(*RUN, "--runs", str(runs))
    assert done.code == 0, done.err


def find_outcome(runs: Path) -> str:
    """Return what the killed run left, after trying whether it can be finished and compared."""
    names = {path.name for path in runs.glob("*")}
    has_result = any(runs.glob("*/result.json"))
    state = "finished" if has_result else "store" if "mlflow.db" in names else "folder" if names else "nothing"
    return state if fork_and_wait(lambda: finish_run(runs)) == 0 else f"unusable ({state})"


def finish_run(runs: Path) -> None:
    """Finish the run with the same command; it is then one of the runs, and in the store."""
    done = line(*RUN, "--runs", str(runs))
    assert done.code == 0, done.err
    (row,) = line("compare", "--no-plot", "--json", "--runs", str(runs)).json()
    assert row["n"] == 1
    assert [run["status"] for run in line("ls", "runs", "--json", "--runs", str(runs)).json()] == ["FINISHED"]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as place:
        for outcome, count in sorted(count_outcomes(int(sys.argv[1]), Path(place)).items()):
            print(f"{count:4d}  {outcome}")
