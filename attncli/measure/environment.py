"""Describe the machine on which something is measured."""

import os
import platform
from typing import Any

import psutil
import torch
import torchvision

from attncli.system.hardware import count_usable_cpus, read_processor_name


def describe_machine() -> dict[str, Any]:
    """Return processor, cores, threads, memory (bytes), accelerator, versions and platform, as values for JSON."""
    return {
        "cpu": read_processor_name(),
        "cores": psutil.cpu_count(logical=False) or os.cpu_count(),
        "usable_cpus": count_usable_cpus(),
        "threads": torch.get_num_threads(),
        "memory_bytes": psutil.virtual_memory().total,
        "gpu": _name_accelerator(),
        "gpus": torch.accelerator.device_count() if torch.accelerator.is_available() else 0,
        "torch": str(torch.__version__),
        "torchvision": str(torchvision.__version__),
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


def _name_accelerator() -> str | None:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    current = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return str(current) if current else None
