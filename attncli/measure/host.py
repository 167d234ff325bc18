"""The machine on which something was measured."""

import os
import platform
from pathlib import Path
from typing import Any

import psutil
import torch
import torchvision


def machine() -> dict[str, Any]:
    """Processor, cores, threads, memory (bytes), accelerator, versions and platform, as plain values for JSON."""
    return {
        "cpu": _processor(),
        "cores": psutil.cpu_count(logical=False) or os.cpu_count(),
        "usable_cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_bytes": psutil.virtual_memory().total,
        "gpu": _accelerator(),
        "gpus": torch.accelerator.device_count() if torch.accelerator.is_available() else 0,
        "torch": str(torch.__version__),
        "torchvision": str(torchvision.__version__),
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


def _processor() -> str:
    """The processor's name where the system tells it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _accelerator() -> str | None:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    current = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return str(current) if current else None
