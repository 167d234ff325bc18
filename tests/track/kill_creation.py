"""Kill processes that create a store, at many moments, and count the stores that the next process cannot use.

    python -m tests.track.kill_creation 200

Half of the kills come at a random moment, the other half just when the new file appears beside its place, which is
the only moment at which something is on disk. SIGKILL and SIGINT take turns. MLflow is imported once; each process
is a fork.
"""

import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from attncli.track import RunStore, list_run_rows, store


def count_states(kills: int, folder: Path, seed: int = 0) -> Counter[str]:
    """Kill `kills` creations; return how often each state was left, `unusable` among them."""
    store.load_mlflow()
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401 - imported once, not in each fork

    draws, states = random.Random(seed), Counter[str]()
    started = time.monotonic()
    assert fork_and_wait(lambda: open_store(folder / "whole")) == 0
    longest = time.monotonic() - started
    for number in range(kills):
        runs = folder / f"runs-{number}"
        child = fork(lambda runs=runs: open_store(runs))
        if number % 2:
            wait_for_file(runs / ".mlflow.db.new", child)
            time.sleep(draws.uniform(0, 0.03))
        else:
            time.sleep(draws.uniform(0, longest))
        os.kill(child, signal.SIGKILL if number % 4 < 2 else signal.SIGINT)
        os.waitpid(child, 0)
        states[find_state(runs)] += 1
        shutil.rmtree(runs, ignore_errors=True)
    return states


def find_state(runs: Path) -> str:
    """Return what the killed process left, after trying it as the next process would."""
    names = {path.name for path in runs.glob("*")} | {path.name for path in runs.glob(".*")}
    state = "complete" if "mlflow.db" in names else "new file only" if ".mlflow.db.new" in names else "nothing"
    if state == "nothing":  # the same as before the first process
        return state
    return state if fork_and_wait(lambda: open_store(runs)) == 0 else "unusable"


def open_store(runs: Path) -> None:
    """Open a store as a run does: it must have one experiment and no run."""
    assert list_run_rows(RunStore(runs)) == []
    assert len(store.connect_store(RunStore(runs)).search_experiments()) == 1


def fork(work: Callable[[], None]) -> int:
    """Do the work in a child process, which ends with 1 on any error, and return its id."""
    if child := os.fork():
        return child
    signal.signal(signal.SIGINT, signal.default_int_handler)
    code = 1
    try:
        work()
        code = 0
    finally:
        os._exit(code)


def fork_and_wait(work: Callable[[], None]) -> int:
    """Do the work in a child process and return its exit code."""
    return os.waitstatus_to_exitcode(os.waitpid(fork(work), 0)[1])


def wait_for_file(path: Path, child: int) -> None:
    """Wait until the file is there or the child has ended."""
    while not path.exists() and os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        time.sleep(0.0005)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as place:
        print(dict(count_states(int(sys.argv[1]), Path(place))))
