"""Metrics of the machine while a run trains: processor, memory, disk, network and GPU.

They are MLflow's own collectors and names (`system/...`), but go through the run's one writer, so that
a store that does not answer is handled in one place. The first samples come every second, also for short runs.
"""

import importlib
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from attncli.track.metrics import MetricPoint
from attncli.track.provenance import now_ms

FAST_S, SLOW_S, FAST_SAMPLES = 1.0, 10.0, 10


class SystemSampler:
    """A thread that passes system metrics to `send` until `stop_sampling`; steps are seconds since the run's start."""

    def __init__(self, send: Callable[[list[MetricPoint]], None], started_ms: int) -> None:
        self._send = send
        self._started_ms = started_ms
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample_until_stopped, daemon=True, name="attncli-system-metrics")
        self._thread.start()

    def stop_sampling(self) -> None:
        """Stop sampling, without waiting for a sample that is being taken."""
        self._stop.set()

    def _sample_until_stopped(self) -> None:
        try:
            collectors, has_gpus = _make_collectors(), False
            started_at = time.monotonic()
            while not self._stop.wait(FAST_S if time.monotonic() - started_at < FAST_SAMPLES * FAST_S else SLOW_S):
                if not has_gpus and _uses_cuda():  # many runs only use it when they begin to train
                    collectors, has_gpus = [*collectors, *_make_gpu_collectors()], True
                self._send(self._take_sample(collectors))
        except Exception:  # on a machine without readable counters only these metrics are missing
            return

    def _take_sample(self, collectors: list[Any]) -> list[MetricPoint]:
        timestamp_ms = now_ms()
        step = (timestamp_ms - self._started_ms) // 1000
        points = []
        for collector in collectors:
            collector.collect_metrics()
            points += [
                MetricPoint(f"system/{name}", float(value), step, timestamp_ms)
                for name, value in collector.aggregate_metrics().items()
            ]
            collector.clear_metrics()
        return points


def _make_collectors() -> list[Any]:
    import psutil
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

    psutil.cpu_percent()  # the first reading is always 0
    return [CPUMonitor(), DiskMonitor(), NetworkMonitor()]


def _make_gpu_collectors() -> list[Any]:
    """Return the collector for the GPUs that this process uses; none without a library that can ask them."""
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor

    with suppress(ImportError, RuntimeError):
        monitor = GPUMonitor()
        monitor.gpu_handles = _select_visible(monitor.gpu_handles)
        return [monitor]
    return []


def _uses_cuda() -> bool:
    """Return whether this process computes on a GPU by CUDA."""
    torch = sys.modules.get("torch")
    return torch is not None and torch.cuda.is_initialized()


def _select_visible(handles: list[Any]) -> list[Any]:
    """Return NVML's handles of the GPUs that torch uses in this process: in a sweep each run has its own card.

    NVML numbers cards by their place on the bus. CUDA numbers the fastest first, or as CUDA_DEVICE_ORDER says, and
    CUDA_VISIBLE_DEVICES chooses by number or identifier, also a part of a card. So cards are matched by their places.
    """
    if not _uses_cuda():
        return []
    torch = sys.modules["torch"]
    properties: list[Any] = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    if not all(hasattr(card, "pci_bus_id") for card in properties):  # an older torch: no place is known
        return handles
    places = [(card.pci_domain_id, card.pci_bus_id, card.pci_device_id) for card in properties]
    pynvml = importlib.import_module("pynvml")  # an optional library, which MLflow uses
    infos = [pynvml.nvmlDeviceGetPciInfo(handle) for handle in handles]
    known = {(info.domain, info.bus, info.device): handle for info, handle in zip(infos, handles, strict=True)}
    return [known[place] for place in dict.fromkeys(places) if place in known]
