"""What the machine does while a run trains: processor, memory, disk, network and GPU, sampled beside it.

MLflow's own collectors under MLflow's own names (`system/...`), but sent through the run's one writer, so that
a store that is away is noticed in one place. The first samples come every second: short runs get some as well.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from attncli.track.origin import now_ms
from attncli.track.points import Point

FAST_S, SLOW_S, FAST_SAMPLES = 1.0, 10.0, 10


class Sampler:
    """A thread that hands system metrics to `send` until `stop`; steps are seconds since the run's start."""

    def __init__(self, send: Callable[[list[Point]], None], started_ms: int) -> None:
        self._send = send
        self._started_ms = started_ms
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True, name="attncli-system-metrics")
        self._thread.start()

    def stop(self) -> None:
        """End sampling; returns without waiting for a sample that is being taken."""
        self._stop.set()

    def _work(self) -> None:
        try:
            collectors = _collectors()
            began = time.monotonic()
            while not self._stop.wait(FAST_S if time.monotonic() - began < FAST_SAMPLES * FAST_S else SLOW_S):
                self._send(self._sample(collectors))
        except Exception:  # a machine without readable counters trains as well; the metrics are then missing
            return

    def _sample(self, collectors: list[Any]) -> list[Point]:
        at = now_ms()
        step = (at - self._started_ms) // 1000
        found = []
        for collector in collectors:
            collector.collect_metrics()
            found += [Point(f"system/{k}", float(v), step, at) for k, v in collector.aggregate_metrics().items()]
            collector.clear_metrics()
        return found


def _collectors() -> list[Any]:
    import psutil
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

    psutil.cpu_percent()  # the first reading is always 0
    found: list[Any] = [CPUMonitor(), DiskMonitor(), NetworkMonitor()]
    with suppress(ImportError, RuntimeError):  # no NVIDIA GPU, or no library to ask one
        found.append(GPUMonitor())
    return found
