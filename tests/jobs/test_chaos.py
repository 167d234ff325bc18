"""Fifty kills of a sweep at random moments; `pytest -m slow -s tests/jobs/test_chaos.py` prints the tally."""

import os
import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.jobs import case

KILLS = int(os.environ.get("ATTNCLI_KILLS", "50"))
WAYS = ("a worker killed", "a worker terminated", "the parent killed", "the parent terminated", "one of two killed")
Sweep = subprocess.Popen[str]


@pytest.mark.slow
def test_fifty_kills(tmp_path: Path) -> None:
    """Whatever is killed, the same call completes the sweep: nothing lost, doubled, differing or left RUNNING."""
    rng = random.Random(5)
    file = case.write(tmp_path, seeds=3, epochs=3)
    began = time.monotonic()
    assert case.call(file, tmp_path / "calm").returncode == 0
    calm, latest = case.figures(tmp_path / "calm"), [0.6 * (time.monotonic() - began)]
    tally: Counter[str] = Counter()
    rounds, faults = 0, []
    while tally.total() < KILLS:
        runs = tmp_path / f"wild-{rounds}"
        while disturbed(file, runs, rng, latest, tally):
            pass
        faults += [f"round {rounds}: {fault}" for fault in case.faults(runs, calm)]
        rounds += 1
        print(f"{tally.total()} kills in {rounds} sweeps, faults: {faults or 0}", flush=True)
    print(f"\n{tally.total()} kills in {rounds} sweeps of {len(calm)} runs: {dict(tally)}; faults: {faults or 0}")
    assert faults == []


def disturbed(file: Path, runs: Path, rng: random.Random, latest: list[float], tally: "Counter[str]") -> bool:
    """One call of the sweep (or two at once) with one kill; whether there is something left to do.

    The kill comes within `latest` seconds, which shrinks where a sweep was over before: a machine may become quicker.
    """
    way = rng.choice(WAYS) if tally.total() < KILLS else ""
    sweeps = [case.start(file, runs) for _ in range(2 if "two" in way else 1)]
    until = time.monotonic() + rng.uniform(1, latest[0])
    while way and time.monotonic() < until and sweeps[0].poll() is None:
        time.sleep(0.05)
    if way and sweeps[0].poll() is None and kill(sweeps[0], way, rng):
        tally[way] += 1
    elif way:
        latest[0] = max(5.0, 0.8 * latest[0])
    for sweep in sweeps:
        out, err = sweep.communicate(timeout=600)
        assert sweep.returncode in (0, 1, 130, -signal.SIGKILL), out + err
    return sweeps[-1].returncode != 0


def kill(sweep: Sweep, way: str, rng: random.Random) -> bool:
    """Kill or terminate a worker or the parent; whether there was anything to kill."""
    if "worker" not in way:
        os.kill(sweep.pid, signal.SIGTERM if "terminated" in way else signal.SIGKILL)
        return True
    there = case.workers(sweep)
    if there:
        rng.choice(there).send_signal(signal.SIGTERM if "terminated" in way else signal.SIGKILL)
    return bool(there)
