"""Time a run outside of its training: from process start to the first step, and from the last step to the exit.

Whole runs of one epoch are started as a user would start them, and each line on stderr gets a time. The first line
is written when the run is ready to train, and one line follows each epoch.
"""

import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from attncli.errors import RunFailedError

SHORT = ("--attn", "eca", "--backbone", "resnet20", "--epochs", "1", "--set", "measure.speed=false")
IMPORT = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s*([\w.]+)$")
TimedLine = tuple[float, str]  # seconds since the start, what was written


@dataclass(frozen=True, kw_only=True)
class StartupTiming:
    """One run: wall-clock seconds, and processor seconds, which other processes disturb less."""

    to_training_s: float
    training_s: float  # and validation
    to_exit_s: float
    cpu_s: float  # of the whole run


def bench_startup(runs: Path, rounds: int) -> Iterator[StartupTiming]:
    """Yield the timings of runs that differ in the seed, after a first run that creates the store and is not timed."""
    for seed in range(rounds + 1):
        timing = time_run(build_run_command(runs, seed))
        if seed:
            yield timing


def build_run_command(runs: Path, seed: int) -> list[str]:
    """Return the command line of a short run."""
    return ["-m", "attncli", "run", *SHORT, "--runs", str(runs), "--seed", str(seed)]


def time_run(arguments: Sequence[str]) -> StartupTiming:
    """Start Python with these arguments and time its lines. Raises RunFailedError if it fails."""
    started = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        lines = [(time.perf_counter() - started, line) for line in process.stderr]
        cpu_seconds = _read_cpu_seconds(process.pid)
        process.wait()
        total_seconds = time.perf_counter() - started
    return _split_timing(lines, total_seconds, cpu_seconds, process.returncode)


def _read_cpu_seconds(pid: int) -> float:
    """Return the processor seconds of a process that has closed its stderr; 0 if it is already gone."""
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def _split_timing(
    lines: Sequence[TimedLine], total_seconds: float, cpu_seconds: float, exit_code: int
) -> StartupTiming:
    epochs = [at for at, line in lines if line.startswith("epoch ")]
    if exit_code or not epochs:
        last_line = lines[-1][1].strip() if lines else "no error message"
        raise RunFailedError(
            f"bench: the run ended with code {exit_code}: {last_line}", "does `attncli run` work here?"
        )
    ready = lines[0][0]
    return StartupTiming(
        to_training_s=ready, training_s=epochs[-1] - ready, to_exit_s=total_seconds - epochs[-1], cpu_s=cpu_seconds
    )


def time_imports(runs: Path) -> dict[str, float]:
    """Return the seconds of a run's imports by package, the slowest first (-X importtime, which slows imports down)."""
    completed = subprocess.run(
        [sys.executable, "-X", "importtime", *build_run_command(runs, 0), "--fresh"],
        capture_output=True,
        text=True,
        check=False,
    )
    return sum_by_package(completed.stderr)


def sum_by_package(text: str) -> dict[str, float]:
    """Add up the output of -X importtime: seconds of each top-level package's own modules."""
    spent: Counter[str] = Counter()
    for line in text.splitlines():
        if match := IMPORT.match(line):
            spent[match[2].partition(".")[0]] += int(match[1])
    return {name: microseconds / 1e6 for name, microseconds in spent.most_common()}
