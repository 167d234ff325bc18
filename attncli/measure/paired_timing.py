"""Time two pieces of work in turn: seconds of each pair, and the ratio of their rates with its interval."""

import math
import time
from collections.abc import Callable

import torch

from attncli.system.median_interval import compute_median_interval

MIN_PAIRS = 9  # timed at least: a distribution-free interval of fewer is hardly shorter than their range
SAMPLE_SECONDS = 0.1  # minimum length of a sample, so that the clock's resolution and short delays matter little
Pair = tuple[float, float]  # seconds of the network and of the baseline for the same work


def time_pairs(
    first: Callable[[], None], second: Callable[[], None], device: torch.device, budget: float, repeats: int
) -> list[Pair]:
    """Return seconds per call of `first` and `second`, timed in turn in about `budget` seconds after one trial pair.

    Every other pair is timed in reverse order; otherwise a machine that slows down steadily would favour the first.
    """
    trial_seconds = time_calls(first, 1, device) + time_calls(second, 1, device)
    calls = max(1, min(math.ceil(2 * SAMPLE_SECONDS / trial_seconds), int(budget / (trial_seconds * repeats))))
    pairs = []
    for i in range(max(MIN_PAIRS, min(repeats, int(budget / (trial_seconds * calls))))):
        order = (first, second) if i % 2 == 0 else (second, first)
        call_seconds = {work: time_calls(work, calls, device) / calls for work in order}
        pairs.append((call_seconds[first], call_seconds[second]))
    return pairs


def time_calls(work: Callable[[], object], calls: int, device: torch.device) -> float:
    """Return the seconds that `calls` calls of `work` take on the device; CUDA events measure without host delays."""
    if device.type == "cuda":
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(calls):
            work()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) / 1000
    begin = time.perf_counter()
    for _ in range(calls):
        work()
    synchronize_device(device)
    return time.perf_counter() - begin


def synchronize_device(device: torch.device) -> None:
    """Wait until the device has done its work, if neither CUDA events nor the calls themselves wait for it."""
    if device.type not in ("cpu", "cuda"):
        torch.accelerator.synchronize(device)


def compute_ratio_interval(pairs: list[Pair]) -> tuple[float, float, float]:
    """Return the median of the first's throughput divided by the second's, and the ends of its 95 % interval."""
    return compute_median_interval([second / first for first, second in pairs])
