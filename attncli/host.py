"""What can be told of this machine without loading torch."""

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any


@cache
def processor() -> str:
    """The processor's name where the system tells it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def usable_cpus() -> int | None:
    """Logical processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


@cache
def gpu_names() -> tuple[str, ...]:
    """The GPUs by the names that driver and torch give them; none where CUDA_VISIBLE_DEVICES hides them all."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        return ()
    try:
        asked = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        told = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(line.strip() for line in told.splitlines())


def is_this(machine: Mapping[str, Any]) -> bool:
    """Whether a machine as `attncli.measure.machine` tells it is this one, with the same release of torch."""
    gpu = machine.get("gpu")
    here = {"cpu": processor(), "usable_cpus": usable_cpus(), "platform": platform.platform()}
    return (
        all(machine.get(name) == value for name, value in here.items())
        and all(_release(machine.get(name)) == _installed(name) for name in ("torch", "torchvision"))
        and (gpu in gpu_names() if gpu else not gpu_names())
    )


def _release(version: object) -> str:
    """A version without its local part: the package index leaves out what torch adds (`+cu132`)."""
    return str(version).partition("+")[0]


@cache
def _installed(name: str) -> str:
    try:
        return _release(importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return ""
