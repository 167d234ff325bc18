"""The time of a training step with several numbers of threads."""

import statistics
import time
from collections.abc import Callable, Sequence

import torch

TIMED_S = 0.7  # per number of threads
MOST_STEP_S = 10.0  # after a step that takes longer, the other numbers are left out


def time_by_threads(step: Callable[[], None], thread_counts: Sequence[int]) -> dict[int, float]:
    """Return the median seconds of a step by number of threads; those after a very slow one are left out.

    Args:
        step: does one training step.
        thread_counts: numbers of threads, in the order in which they are timed; the last one stays.
    """
    seconds: dict[int, float] = {}
    for threads in thread_counts:
        torch.set_num_threads(threads)
        times = [_time_once(step) for _ in range(2)][1:]  # the first prepares kernels for so many threads
        while sum(times) < TIMED_S:
            times.append(_time_once(step))
        seconds[threads] = statistics.median(times)
        if seconds[threads] > MOST_STEP_S:
            break
    return seconds


def _time_once(step: Callable[[], None]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start
