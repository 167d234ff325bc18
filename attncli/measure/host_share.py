"""Whether the GPU or the host limits the speed of a step: on CUDA the host starts every kernel of it from Python.

If starting the kernels takes as long as the step, the GPU waits for the host, and a ratio of such speeds is one of
Python and of numbers of kernels. Steps that are queued one after the other do not show this: the queue of kernels is
limited, so the host waits for the GPU sooner or later. So the host is timed for one step alone, with an idle GPU.
"""

import statistics
import time
from collections.abc import Callable, Sequence

import torch

HOST_SAMPLES = 5  # steps whose median counts


def measure_host_share(work: Callable[[], object], step_seconds: float, device: torch.device) -> float | None:
    """Return the host's time to start one call of `work`, divided by the time of a call in a queue of them.

    About 1: the host is the limit. Far below 1: the GPU is. `records.name_speed_limit` decides.

    Args:
        work: a step, warmed up.
        step_seconds: seconds per call, by CUDA events around many calls.
        device: where it runs.

    Returns:
        The share, or None on another device than CUDA.
    """
    if device.type != "cuda":
        return None
    return statistics.median(_time_host(work, device) for _ in range(HOST_SAMPLES)) / step_seconds


def measure_host_shares(
    steps: Sequence[Callable[[], object]], rounds: Sequence[Sequence[float]], device: torch.device
) -> list[float | None]:
    """Return the host's share of each step; `rounds` has one row of seconds per call, one column per step."""
    medians = [statistics.median(column) for column in zip(*rounds, strict=True)]
    return [measure_host_share(step, seconds, device) for step, seconds in zip(steps, medians, strict=True)]


def _time_host(work: Callable[[], object], device: torch.device) -> float:
    """Return the seconds until a call returns, its kernels started but perhaps not run; the GPU is idle before."""
    torch.cuda.synchronize(device)
    started_at = time.perf_counter()
    work()
    return time.perf_counter() - started_at
