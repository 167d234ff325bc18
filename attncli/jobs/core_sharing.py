"""How many runs share the cores of a CPU with `--jobs auto`: steps of the first run are timed with all cores and fewer.

Small networks gain little from more threads: resnet20 on images of 8 px takes as long with two as with one. As many
runs as there are cores then finish sooner, and each also writes its pictures while others train. No torch.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attncli.jobs import resources
from attncli.quantities import format_quantity
from attncli.recipe import Recipe
from attncli.system import hardware
from attncli.system.memory_limit import read_free_memory
from attncli.system.process_groups import OWN_GROUP
from attncli.system.signals import StopRequest

LEAST_GAIN = 1.2  # below, one run with all cores is kept: runs beside each other share caches and memory too
MEMORY_SHARE = 0.9  # of the free memory that runs may take
POLL_S = 0.2


@dataclass(frozen=True)
class StepTimes:
    """What `attncli.jobs.step_timer` found: seconds of a training step by number of threads, and bytes of memory."""

    seconds: Mapping[int, float]
    bytes: int


def list_job_counts(cores: int, runs: int) -> tuple[int, ...]:
    """Return the numbers of jobs to choose from: 1, 2, 4, ... and one per core, not more than there are runs."""
    doubled = [1 << power for power in range(cores.bit_length()) if 1 << power < cores]
    return tuple(jobs for jobs in (*doubled, cores) if jobs == 1 or jobs <= runs)


def choose_jobs_per_cpu(times: StepTimes, threads_by_jobs: Mapping[int, int], free_bytes: int) -> tuple[int, str]:
    """Return how many runs like the one that was timed share the cores, and what decided it.

    Args:
        times: of its steps; a number of threads that is missing was not timed.
        threads_by_jobs: the threads of each run, for every number of runs to choose from.
        free_bytes: of memory.
    """
    alone = times.seconds[threads_by_jobs[1]]
    gains = {
        jobs: jobs * alone / times.seconds[threads]
        for jobs, threads in threads_by_jobs.items()
        if threads in times.seconds
    }
    most_jobs = max(1, int(MEMORY_SHARE * free_bytes / max(times.bytes, 1)))
    fitting = {jobs: gain for jobs, gain in gains.items() if jobs <= most_jobs}
    best = max(fitting, key=lambda jobs: fitting[jobs])
    if fitting[best] < LEAST_GAIN:
        if max(gains.values()) >= LEAST_GAIN:
            return 1, f"a run takes {times.bytes / 1e9:.1f} GB, and {free_bytes / 1e9:.1f} GB are free"
        return 1, f"by timed steps, several would do less than {LEAST_GAIN} x the images/s"
    threads = format_quantity(threads_by_jobs[best], "thread")
    return best, f"by timed steps, with {threads} each they do about {fitting[best]:.1f} x the images/s of one"


def choose_jobs_by_timing(recipe: Recipe, runs_folder: Path, runs: int, stop: StopRequest) -> tuple[int, str]:
    """Return how many runs share the cores, and what decided it, after timing steps of a recipe in a process.

    If that process fails there is one run at a time: it meets the same fault, and reports it.

    Args:
        recipe: of the first run.
        runs_folder: the folder of runs, with the cache of images.
        runs: how many there are to do.
        stop: ends the timing.
    """
    cores = hardware.count_cores()
    threads_by_jobs = {jobs: resources.threads_per_job(jobs) for jobs in list_job_counts(cores, runs)}
    if len(threads_by_jobs) == 1:
        return 1, "there is one core" if cores == 1 else "there is one run"
    threads = list(dict.fromkeys(threads_by_jobs.values()))
    request = {"recipe": recipe.model_dump(mode="json"), "runs": str(runs_folder), "threads": threads}
    answer = _ask_step_timer(request, stop)
    if "device" in answer:
        return 1, f"the runs train on {answer['device']}"
    if "seconds" not in answer:
        return 1, "no steps could be timed"
    times = StepTimes({int(threads): seconds for threads, seconds in answer["seconds"].items()}, answer["bytes"])
    return choose_jobs_per_cpu(times, threads_by_jobs, read_free_memory())


def _ask_step_timer(request: Mapping[str, object], stop: StopRequest) -> dict[str, Any]:
    """Return the answer of the process that times, or nothing if it failed or was stopped."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "attncli.jobs.step_timer", json.dumps(request)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.DEVNULL,
            **OWN_GROUP,
        )
        try:
            while not stop.reason:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(POLL_S)
                    break
        finally:
            process.kill()
            process.wait()
        output.seek(0)
        lines = output.read().splitlines()
    with suppress(IndexError, json.JSONDecodeError):
        return dict(json.loads(lines[-1]))
    return {}
